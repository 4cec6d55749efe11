package conntrack

import (
	"math"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// A counter of 32 bits that wraps goes on, on every CPU by itself; a CPU that comes late counts in full.
func TestStatisticsWrap(t *testing.T) {
	t.Parallel()
	s := &Statistics{last: map[uint16]statistic{}}
	at := func(found, drop uint32) statistic {
		var st statistic
		st[statFound], st[statDrop] = found, drop
		return st
	}
	steps := []struct {
		cpu         uint16
		st          statistic
		found, drop uint64
	}{
		{0, at(10, 1), 10, 1},
		{1, at(math.MaxUint32, 0), 10 + math.MaxUint32, 1},
		{0, at(10, 1), 10 + math.MaxUint32, 1},
		{1, at(4, 0), 10 + math.MaxUint32 + 5, 1},
		{1, at(3, 0), 10 + 2*math.MaxUint32 + 5, 1}, // a whole round less one
		{7, at(100, 100), 110 + 2*math.MaxUint32 + 5, 101},
	}
	for i, step := range steps {
		s.add(step.cpu, step.st)
		if s.sum.Found != step.found || s.sum.Drop != step.drop {
			t.Errorf("step %d: found %d, drop %d; want %d, %d", i, s.sum.Found, s.sum.Drop, step.found, step.drop)
		}
	}
}

func TestParseStatistics(t *testing.T) {
	t.Parallel()
	head := func(parts ...[]byte) []byte {
		b := []byte{0, 0, 1, 2}
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	all := head(attribute(attrStatsFound, 0, 0, 0, 1), attribute(attrStatsInvalid, 0, 0, 0, 2), attribute(attrStatsInsertFailed, 0, 0, 0, 3),
		attribute(attrStatsDrop, 0, 0, 0, 4), attribute(attrStatsEarlyDrop, 0, 0, 0, 5), attribute(attrStatsSearchRestart, 0, 0, 0, 6),
		attribute(attrStatsClashResolve, 0, 0, 0, 7), attribute(attrStatsChainTooLong, 0, 0, 1, 0), attribute(99, 1))
	tests := []struct {
		name string
		in   []byte
		cpu  uint16
		want statistic
		err  string
	}{
		{name: "all", in: all, cpu: 258, want: statistic{1, 2, 3, 4, 5, 6, 7, 256}},
		{name: "an older kernel", in: head(attribute(attrStatsFound, 0, 0, 0, 1)), cpu: 258, want: statistic{1}},
		{name: "no header", in: []byte{1}, err: "parse nfgenmsg: 1 bytes, want 4"},
		{name: "short counter", in: head(attribute(attrStatsDrop, 1)), err: "parse CTA_STATS_DROP: 1 bytes, want 4"},
		{name: "cut off", in: all[:len(all)-5], err: "parse attribute: 3 bytes, want a whole one"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cpu, st, err := parseStatistic(tt.in)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err || cpu != tt.cpu {
				t.Errorf("cpu %d, error %q; want %d, %q", cpu, text, tt.cpu, tt.err)
			}
			if d := cmp.Diff(tt.want, st); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	for f, b := range captured(t, "stats-cpu") {
		if cpu, _, err := parseStatistic(b); err != nil || cpu > 1 {
			t.Errorf("%s: cpu %d, %v", filepath.Base(f), cpu, err)
		}
	}
	for f, b := range captured(t, "stats-1") {
		if n, err := parseEntries(b); err != nil || n != 8 {
			t.Errorf("%s: %d entries, %v", filepath.Base(f), n, err)
		}
	}
}

// The counters are the namespace's own and only rise.
func TestKernelStatistics(t *testing.T) {
	t.Parallel()
	ns := natNetns(t, nil)
	s, err := OpenStatistics(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	before, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(collector.Counters{Netns: ns.Inode()}, before); d != "" {
		t.Errorf("a new namespace (-want +got):\n%s", d)
	}
	r := newTraffic(t, ns)
	for range 10 {
		a, b := r.tcp()
		defer func() { _, _ = a.Close(), b.Close() }()
	}
	c := newCreator(t, ns)
	c.add(established(ap("10.0.0.1:1"), ap("10.0.0.2:1"), netip.AddrPort{}))
	c.flush()
	after, err := s.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Entries != 11 || after.Netns != ns.Inode() {
		t.Errorf("after 11 flows: %+v", after)
	}
	// ti-mo adds up the same counters.
	stats, err := dialOracle(t, ns).Stats()
	if err != nil {
		t.Fatal(err)
	}
	var found, invalid, restart uint64
	for _, cpu := range stats {
		found, invalid, restart = found+uint64(cpu.Found), invalid+uint64(cpu.Invalid), restart+uint64(cpu.SearchRestart)
	}
	if after.Found != found || after.Invalid != invalid || after.SearchRestart != restart {
		t.Errorf("found %d, invalid %d, restart %d; ti-mo %d, %d, %d", after.Found, after.Invalid, after.SearchRestart, found, invalid, restart)
	}
}
