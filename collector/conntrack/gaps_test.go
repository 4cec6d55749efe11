package conntrack

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A dump uses the timeouts that the namespace has at the time of the dump, not those of an earlier read.
func TestKernelTimeoutsAreReadBeforeEachDump(t *testing.T) {
	t.Parallel()
	ns := natNetns(t, map[string]string{"udp_timeout": "100", "udp_timeout_stream": "100"})
	s := run(t, Config{Netns: ns, Strategy: Poll, Interval: 20 * time.Millisecond})
	r := newTraffic(t, ns)
	sysctl(t, ns, "udp_timeout", "30")
	sysctl(t, ns, "udp_timeout_stream", "30")
	s.await("a dump since", func(record *record) bool { return record.kinds()[collector.End] > 2 })
	dumps := s.src.Stats().Dumps
	s.await("two more", func(*record) bool { return s.src.Stats().Dumps > dumps+1 })
	before := s.now()
	flow := s.last(collector.Seen, r.datagram("x"), nil)
	if flow.Active != 0 && flow.Active < before.Add(-3*time.Second) {
		t.Errorf("last packet at %v, %v before it was sent", flow.Active, before.Sub(flow.Active))
	}
	if flow.Active == 0 {
		t.Error("the last packet's time is unknown")
	}
}

// A dump may lack flows if the kernel gave up entries since the one before, or is about to.
func TestGaps(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		entries byte
		most    int
		early   []byte // counter at each dump
		want    []string
	}{
		{"room", 10, 200, []byte{0, 0}, []string{"", ""}},
		{"entries of long ago were given up", 10, 200, []byte{7, 7}, []string{"", ""}},
		{"entries are given up", 10, 200, []byte{7, 8, 8}, []string{"", "give", ""}},
		{"nearly full", 190, 200, []byte{0}, []string{"95 %"}},
		{"the limit is unknown", 190, 0, []byte{0}, []string{""}},
		{"a limit so small that the kernel gives up nothing before it is full", 59, 60, []byte{0, 0}, []string{"", ""}},
		{"the same, full", 60, 60, []byte{0, 1}, []string{"", "give"}},
		{"a limit that the kernel rounds", 95, 199, []byte{0}, []string{"95 %"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dump := 0
			answer := func(typ netlink.HeaderType, flags netlink.HeaderFlags, req netlink.Message, data []byte) []byte {
				h := netlink.Header{Length: uint32(16 + len(data)), Type: typ, Flags: flags, Sequence: req.Header.Sequence}
				b, err := (&netlink.Message{Header: h, Data: data}).MarshalBinary()
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			tab := &table{
				conn: nlraw.Fake(func(req netlink.Message) [][]byte {
					switch req.Header.Type {
					case msgGetStats:
						return [][]byte{answer(msgGetStats, 0, req, append([]byte{0, 0, 0, 0}, attribute(attrStatsEntries, 0, 0, 0, tt.entries)...))}
					case msgGetStatsCPU:
						early := append([]byte{0, 0, 0, 0}, attribute(attrStatsEarlyDrop, 0, 0, 0, tt.early[dump])...)
						return [][]byte{append(answer(msgGetStatsCPU, netlink.Multi, req, early), answer(netlink.Done, netlink.Multi, req, make([]byte, 4))...)}
					}
					return [][]byte{answer(netlink.Done, netlink.Multi, req, make([]byte, 4))}
				}),
				clock: newClock(nil), timeouts: &timeouts{}, gaps: &gaps{most: tt.most}, out: &collector.Batch{},
				buckets: func() int { return 1 },
			}
			var kinds []collector.Kind
			tab.out.Start(func(_ context.Context, events []collector.Event) error {
				for _, e := range events {
					kinds = append(kinds, e.Kind)
				}
				return nil
			}, batchMax)
			for i, want := range tt.want {
				dump, kinds = i, nil
				if err := tab.dump(t.Context(), 0, false); err != nil {
					t.Fatal(err)
				}
				if why := tab.gaps.why; !strings.Contains(why, want) || (why == "") != (want == "") {
					t.Errorf("dump %d: %q, want %q", i, why, want)
				}
				if gap := len(kinds) == 3 && kinds[1] == collector.Gap; gap != (want != "") {
					t.Errorf("dump %d: events %v", i, kinds)
				}
			}
		})
	}
}

// A dump is late if conntrack may have forgotten a flow meanwhile, that was reset, or closed, or was of UDP.
func TestLate(t *testing.T) {
	t.Parallel()
	const sec = time.Second
	for _, tt := range []struct {
		name     string
		timeouts map[string]time.Duration
		gap      time.Duration
		want     string
	}{
		{"in time", map[string]time.Duration{"tcp_timeout_close": 10 * sec, "tcp_timeout_time_wait": 120 * sec}, 9 * sec, ""},
		{"late for a reset", map[string]time.Duration{"tcp_timeout_close": 10 * sec, "tcp_timeout_time_wait": 120 * sec}, 11 * sec, "11s, is longer than nf_conntrack_tcp_timeout_close, 10s"},
		{"late for a close", map[string]time.Duration{"tcp_timeout_close": 10 * sec, "tcp_timeout_time_wait": 2 * sec}, 3 * sec, "3s, is longer than nf_conntrack_tcp_timeout_time_wait, 2s"},
		{"nothing is remembered", map[string]time.Duration{"tcp_timeout_close": 0, "tcp_timeout_time_wait": 120 * sec}, sec, "1s, is longer than nf_conntrack_tcp_timeout_close, 0s"},
		{"late for a datagram", map[string]time.Duration{"tcp_timeout_close": 10 * sec, "udp_timeout": 5 * sec}, 6 * sec, "6s, is longer than nf_conntrack_udp_timeout, 5s"},
		{"unknown", nil, 11 * sec, ""},
	} {
		limits := newTimeouts(collector.Limits{Timeouts: tt.timeouts})
		got := limits.late(sec2000, sec2000.Add(tt.gap))
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

const sec2000 = collector.Time(2000 * time.Second)

// The time between two dumps is shorter than the timeouts of the namespace and of the policies that rules use, whatever
// interval the config asks for.
func TestKernelDumpsBeforeFlowsAreForgotten(t *testing.T) {
	t.Parallel()
	const most = 1600 * time.Millisecond
	policyOf := func(protocol, name, times, rule string) string {
		return "table ip " + name + " { ct timeout " + name + " { protocol " + protocol + "; l3proto ip; policy = { " + times +
			" }; }; chain c { type filter hook output priority 0; " + rule + "; }; }"
	}
	policy := func(name, times, rule string) string { return policyOf("tcp", name, times, rule) }
	xt := func(used bool, states ...uint16) func(t *testing.T, ns *netns.Handle) {
		return func(t *testing.T, ns *netns.Handle) {
			newXtPolicy(t, ns, "short", states...)
			if used {
				kerneltest.Command(t, ns, "iptables", "-t", "raw", "-A", "OUTPUT", "-p", "tcp", "-j", "CT", "--timeout", "short")
			}
		}
	}
	for _, tt := range []struct {
		name, rules string
		sysctls     map[string]string
		policy      func(t *testing.T, ns *netns.Handle)
		often       bool
	}{
		{"a short tcp_timeout_close", "", map[string]string{"tcp_timeout_close": "2"}, nil, true},
		{"a short tcp_timeout_time_wait", "", map[string]string{"tcp_timeout_time_wait": "2"}, nil, true},
		{"a short udp_timeout", "", map[string]string{"udp_timeout": "2"}, nil, true},
		{"a short udp_timeout_stream", "", map[string]string{"udp_timeout_stream": "2"}, nil, true},
		{"a policy of UDP", policyOf("udp", "short", "unreplied: 2, replied: 9", `meta l4proto udp ct timeout set "short"`), nil, nil, true},
		{"a policy", policy("short", "close: 2, time_wait: 7", `ct timeout set "short"`), nil, nil, true},
		{"a policy that no rule uses", policy("short", "close: 2, time_wait: 7", "accept"), nil, nil, false},
		{"a policy of other states", policy("short", "established: 2", `ct timeout set "short"`), nil, nil, false},
		{"a policy of iptables", "", nil, xt(true, attrPolicyClose), true},
		{"a policy of iptables that no rule uses", "", nil, xt(false, attrPolicyClose), false},
		{"a policy of iptables of other states", "", nil, xt(true, 1), false},
		{"one policy of each kind", policy("long", "close: 60", `ct timeout set "long"`), nil, xt(true, attrPolicyTimeWait), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := natNetns(t, tt.sysctls)
			if tt.rules != "" {
				kerneltest.Command(t, ns, "nft", tt.rules)
			}
			if tt.policy != nil {
				tt.policy(t, ns)
			}
			s := run(t, Config{Netns: ns, Strategy: Poll, Interval: 5 * time.Second, CPUBudget: 0.0001})
			s.await("a pace", func(*record) bool { st := s.src.Stats(); return st.Dumps > 0 && (st.Interval <= most) == tt.often })
		})
	}
}

// newXtPolicy makes a timeout policy of iptables, which lets entries of TCP flows stay for 2 s in each of the states.
func newXtPolicy(t *testing.T, ns *netns.Handle, name string, states ...uint16) {
	t.Helper()
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	a := netlink.NewAttributeEncoder()
	a.ByteOrder = binary.BigEndian
	a.String(attrXtPolicyName, name)
	a.Uint16(2, unix.AF_INET) // CTA_TIMEOUT_L3PROTO
	a.Uint8(attrXtPolicyProtocol, unix.IPPROTO_TCP)
	a.Nested(attrXtPolicyTimes, func(a *netlink.AttributeEncoder) error {
		for _, s := range states {
			a.Uint32(s, 2)
		}
		return nil
	})
	b, err := a.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Execute(netlink.Message{
		// IPCTNL_MSG_TIMEOUT_NEW
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_CTNETLINK_TIMEOUT << 8, Flags: netlink.Request | netlink.Acknowledge | netlink.Create},
		Data:   append(make([]byte, sizeofNfgenmsg), b...),
	}); err != nil {
		t.Fatalf("make a timeout policy: %v", err)
	}
}

// No bytes of a policy make the parsers panic, and what they return makes sense.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 8, 0, 2, 0, 'a', 0, 0, 0})
	// A policy of iptables, named a, that a rule uses: CLOSE 2 s.
	f.Add([]byte{0, 0, 0, 0, 6, 0, 1, 0, 'a', 0, 0, 0, 5, 0, 3, 0, 6, 0, 0, 0, 8, 0, 5, 0, 0, 0, 0, 2, 12, 0, 4, 128, 8, 0, 8, 0, 0, 0, 0, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		masksOf(b)
		for _, kind := range []policyKind{nftPolicies(), xtPolicies()} {
			if p, ok := kind.parse(b); ok && (p.name == "" || p.forgets <= 0) {
				t.Errorf("%+v", p)
			}
		}
	})
}
