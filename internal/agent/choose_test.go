package agent

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	all := netns.Capabilities(0).With(netns.NetAdmin)
	loaded := collector.Limits{EntriesMax: 262144}
	busy := collector.Limits{EntriesMax: 262144, Entries: 7}
	tests := []struct {
		name   string
		want   config.Source
		e      evidence
		source config.Source
		why    string
		notice string
		err    string
	}{
		{"flows tracked", config.SourceAuto, evidence{limits: busy, caps: all, rules: 0}, config.SourceConntrack, "7 flows tracked", "", ""},
		{"flows tracked in a table without a limit", config.SourceAuto, evidence{limits: collector.Limits{Entries: 7, EntriesMax: collector.Unlimited}, caps: all}, config.SourceConntrack, "7 flows tracked", "", ""},
		{"rules, no flow yet", config.SourceAuto, evidence{limits: loaded, caps: all, rules: 2}, config.SourceConntrack, "2 NAT rules, 0 flows tracked", "", ""},
		{"nothing tracked", config.SourceAuto, evidence{limits: loaded, caps: all, rules: 0}, config.SourceSockets, "conntrack tracks nothing", "", ""},
		{"one connection and no entry", config.SourceAuto, evidence{limits: loaded, caps: all, connections: 1, unknown: 1}, config.SourceSockets, "conntrack tracks nothing", "", ""},
		{"entries of before", config.SourceAuto, evidence{limits: busy, caps: all, connections: 7, unknown: 4}, config.SourceSockets, "no NAT rule, no entry of 4 of 7 connections", "", ""},
		{"entries of most connections", config.SourceAuto, evidence{limits: busy, caps: all, connections: 8, unknown: 4}, config.SourceConntrack, "7 flows tracked", "", ""},
		{"rules for connections to come", config.SourceAuto, evidence{limits: loaded, caps: all, rules: 2}, config.SourceConntrack, "2 NAT rules, 0 flows tracked", "", ""},
		{"conntrack broken", config.SourceAuto, evidence{limits: busy, caps: all, rules: 2, broken: "no luck"}, config.SourceSockets, "conntrack does not work", "only sockets are seen: no luck; CAP_NET_ADMIN is there, so a sandbox", ""},
		{"conntrack asked for and not active", config.SourceConntrack, evidence{limits: busy, caps: all, connections: 8, unknown: 8}, config.SourceConntrack, "asked for", "", ""},
		{"module missing", config.SourceAuto, evidence{limits: collector.Limits{}, caps: all, rules: 0}, config.SourceSockets, "not loaded", "only sockets", ""},
		{"rights missing", config.SourceAuto, evidence{limits: busy, caps: 0, rules: 0}, config.SourceSockets, "takes CAP_NET_ADMIN", "setcap cap_net_admin+ep", ""},
		{"/proc/sys hidden", config.SourceAuto, evidence{hidden: true, caps: all}, config.SourceConntrack, "does not tell", "", ""},
		{"/proc/sys hidden and rights missing", config.SourceAuto, evidence{hidden: true}, config.SourceSockets, "takes CAP_NET_ADMIN", "setcap cap_net_admin+ep", ""},
		{"sockets asked for", config.SourceSockets, evidence{limits: busy, caps: all, rules: 3}, config.SourceSockets, "asked for", "", ""},
		{"conntrack asked for", config.SourceConntrack, evidence{limits: loaded, caps: all, rules: 0}, config.SourceConntrack, "asked for", "", ""},
		{"conntrack asked for without module", config.SourceConntrack, evidence{limits: collector.Limits{}, caps: all, rules: 0}, "", "", "", "modprobe nf_conntrack_netlink"},
		{"conntrack asked for without rights", config.SourceConntrack, evidence{limits: busy, caps: 0, rules: 0}, "", "", "", "missing CAP_NET_ADMIN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := choose(tt.want, tt.e)
			if tt.err != "" {
				if !errors.Is(err, errNoSource) || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want %q", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.source != tt.source || !strings.Contains(got.why, tt.why) || !strings.Contains(got.notice, tt.notice) || (got.notice == "") != (tt.notice == "") {
				t.Errorf("got %+v, want %s because %q, notice %q", got, tt.source, tt.why, tt.notice)
			}
		})
	}
}

// A cause that no sensor tells of is absent, not 0.
func TestConntrackCauses(t *testing.T) {
	t.Parallel()
	const unanswered, refused, ports = metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts
	for strategy, want := range map[conntrack.Strategy][]string{
		conntrack.Auto:   {unanswered}, // before the first dump
		conntrack.Poll:   {unanswered},
		conntrack.Events: {unanswered, refused},
	} {
		all := metrics.Causes{Further: append(slices.Clone(want), ports), Here: want}
		if diff := cmp.Diff(all, conntrackCauses(strategy)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", strategy, diff)
		}
	}
}

// That a flow found no port of this machine's NAT is told by sockets that send again, or where they are other machines'
// by the kernel's counters; that a socket found no local port by its end.
func TestPortsCause(t *testing.T) {
	t.Parallel()
	counted := &metrics.Kernel{Counted: true}
	for _, tt := range []struct {
		name              string
		forwards, stalled bool
		counters          *metrics.Kernel
		seen              bool
	}{
		{"sockets of this machine", false, true, nil, true},
		{"nobody sees the sockets", false, false, counted, false},
		{"flows of others, counters", true, true, counted, true},
		{"flows of others, no counters", true, true, &metrics.Kernel{}, false},
		{"flows of others, no conntrack", true, true, nil, false},
	} {
		if got := portsCause(tt.forwards, tt.stalled, tt.counters); (len(got) > 0) != tt.seen {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	deaf := &sockdiag.Stats{Netns: []sockdiag.NetnsStats{{}}}
	listening := &sockdiag.Stats{Netns: []sockdiag.NetnsStats{{}, {Destroyed: sockdiag.DestroyedStats{Listening: true}}}}
	for _, to := range []feed{feedLocal, feedBoth} {
		if c := socketCauses(to, deaf); slices.Contains(c.Local, metrics.CausePorts) || slices.Contains(c.Here, metrics.CausePorts) {
			t.Errorf("without a sensor: %+v", c)
		}
		if c := socketCauses(to, listening); !slices.Contains(c.Local, metrics.CausePorts) {
			t.Errorf("with one: %+v", c)
		}
	}
}

// Guessed times are said, where conntrack is read and does not tell them.
func TestTimesText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		source  config.Source
		stamped bool
		said    bool
	}{
		{config.SourceConntrack, false, true},
		{config.SourceConntrack, true, false},
		{config.SourceSockets, false, false},
	} {
		got := timesText(choice{source: tt.source}, collector.Limits{Timestamps: tt.stamped})
		if (got != "") != tt.said || tt.said && !strings.Contains(got, "net.netfilter.nf_conntrack_timestamp=1") {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
