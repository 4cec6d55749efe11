package web

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// hour is a History in which the state's budgets were seen each five seconds for so many minutes until its snapshot; held
// follows a wave, and a minute in the middle was not seen.
func hour(st *State, minutes int) *History {
	h := &History{}
	end := st.View.Snapshot.At
	for ago := minutes * 60; ago >= 0; ago -= 5 {
		if ago/60 == minutes/2 {
			continue
		}
		s := *st.View.Snapshot
		s.At = end - collector.Time(ago)*collector.Time(time.Second)
		s.Budgets = nil
		part := 1 - 0.6*float64(ago)/float64(minutes*60)*(1+0.2*math.Sin(float64(ago)/200))
		for _, b := range st.View.Snapshot.Budgets {
			c := b
			c.Protocols = nil
			for _, p := range b.Protocols {
				p.Busiest = int(float64(p.Busiest) * part)
				p.Opened -= uint64(min(int(p.Opened), ago*3))
				p.NoPorts -= min(p.NoPorts, uint64(ago/20))
				spaces := p.Spaces
				p.Spaces = nil
				for _, x := range spaces {
					x.Held = int(float64(x.Held) * part)
					p.Spaces = append(p.Spaces, x)
				}
				c.Protocols = append(c.Protocols, p)
			}
			s.Budgets = append(s.Budgets, c)
		}
		h.Add(&s)
	}
	return h
}

func TestHistory(t *testing.T) {
	t.Parallel()
	h := &History{}
	st := calmState()
	b := &st.View.Snapshot.Budgets[0]
	at := func(second, held int, opened, failed uint64) {
		s := *st.View.Snapshot
		s.At += collector.Time(second) * collector.Time(time.Second)
		p := b.Protocols[0]
		p.Busiest, p.Opened, p.NoPorts = held, opened, failed
		c := *b
		c.Protocols = []detector.AccountSnapshot{p}
		s.Budgets = []detector.BudgetSnapshot{c}
		h.Add(&s)
	}
	key := pastKey{budget: b.Budget.Name, protocol: collector.TCP}
	last := func(n int) (held []int, opens, failed []float64) {
		p := h.past(key)
		i := len(p.Held) - n
		return p.Held[i:], p.Opens[i:], p.Failed[i:]
	}
	at(0, 5, 100, 7)
	at(10, 9, 130, 7)
	at(59, 3, 140, 9)
	at(60, 4, 150, 9)
	at(180, 6, 400, 29) // a minute was not seen: which of it were opened then nobody knows
	at(185, 6, 10, 30)  // a reload began the counter of opens anew
	held, opens, failed := last(5)
	if d := cmp.Diff([]int{-1, 9, 4, -1, 6}, held); d != "" {
		t.Errorf("held (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]float64{0, 40, 10, 0, 0}, opens); d != "" {
		t.Errorf("opens (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]float64{0, 2, 0, 0, 1}, failed); d != "" {
		t.Errorf("failed (-want +got):\n%s", d)
	}
	at(180+3600, 1, 20, 30) // an hour later nothing of that is left
	if held, _, _ := last(60); held[58] != -1 || held[59] != 1 || h.past(key).most() != 1 {
		t.Errorf("an hour later: %v", held)
	}
	at(0, 2, 0, 0) // the clock is set back
	if p := h.past(key); p.most() != 2 || p.Held[58] != -1 {
		t.Errorf("after a step back: %v", p.Held)
	}
}

// However many budgets and port spaces there are, no more than pastMost are kept, and those not seen for an hour are dropped.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	h := &History{}
	st := calmState()
	space := st.View.Snapshot.Budgets[0].Protocols[0].Spaces[0]
	for minute := range 200 {
		s := *st.View.Snapshot
		s.At += collector.Time(minute) * collector.Time(time.Minute)
		b := s.Budgets[0]
		p := b.Protocols[0]
		p.Spaces = nil
		for i := range 50 {
			x := space
			x.Destination = fmt.Sprintf("203.0.113.%d:%d", i, minute)
			p.Spaces = append(p.Spaces, x)
		}
		b.Protocols = []detector.AccountSnapshot{p}
		s.Budgets = []detector.BudgetSnapshot{b}
		h.Add(&s)
		if len(h.rings) > pastMost {
			t.Fatalf("%d are kept after %d minutes", len(h.rings), minute)
		}
	}
	var none *History
	none.Add(st.View.Snapshot)
	if none.past(pastKey{}) != nil || none.past(pastKey{}).most() != 0 {
		t.Error("a History that is none knows something")
	}
}

func TestCharts(t *testing.T) {
	t.Parallel()
	p := &Past{Held: make([]int, pastMinutes), Opens: make([]float64, pastMinutes), Failed: make([]float64, pastMinutes)}
	for i := range p.Held {
		p.Held[i], p.Opens[i] = 500, 600
	}
	p.Held[10], p.Failed[59] = -1, 30
	c := charts(p, 1000)
	if len(c) != 3 || c[0].Now != "500" || c[0].Ceiling == "" || c[1].Now != "10" || c[2].Now != "30" || !c[2].Bad || c[1].Bad {
		t.Fatalf("%+v", c)
	}
	// A gap breaks the line; of values alike only the ends are drawn. 1000 is at the top, 1.1 times it beyond.
	if len(c[0].Lines) != 2 || strings.Count(c[0].Lines[0], ",") > 3 || c[0].Ceiling != "11" {
		t.Errorf("held: lines %q, ceiling at %s", c[0].Lines, c[0].Ceiling)
	}
	if charts(nil, 1000) != nil || charts(&Past{Held: []int{-1, 5}, Opens: []float64{0, 0}, Failed: []float64{0, 0}}, 10) != nil {
		t.Error("a chart of one minute or of none")
	}
}

// The page with a past: charts, the hour before the forecast, a plan's answers, and the flows of now beside the source.
func TestPageWithAPast(t *testing.T) {
	t.Parallel()
	st := pastState()
	s := newTestServer(t, st)
	s.page.history = hour(st, 59)
	body := get(t, s.Handler(), "/")
	for _, want := range []string{
		`aria-label="held in the fullest port space, the last hour: now`, "found no port, each minute",
		"The last hour and the forecast for 203.0.113.7:443", "1h ago", `class="past"`,
		"<b>Plan</b>", "a day then exhausts with probability",
		"<b>conntrack</b> (poll), 1434 flows now", "chosen at start: 0 flows tracked",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(body, "NaN") {
		t.Error("the page says NaN")
	}
	// Where one destination holds all ports, what takes it off the NAT leaves none: no peak of 0 is told as if it were one.
	alone := pastState()
	p := &alone.View.Snapshot.Budgets[1].Protocols[0]
	p.Spaces = p.Spaces[:1]
	if body := get(t, newTestServer(t, alone).Handler(), "/"); strings.Contains(body, "for a peak of 0;") ||
		!strings.Contains(body, "its flows leave the NAT, and no other destination holds ports; a day exhausts with probability") {
		t.Error("the page tells a peak of 0, or not that the flows leave the NAT")
	}
	// The largest page: many budgets, each with fifty destinations and VIPs of the longest names, owners and a past.
	crowded := crowdedState()
	long := longState().View.Snapshot.Budgets[1].Protocols[0].Spaces
	for i := range long {
		long[i].Owners = long[0].Owners
	}
	for i := range crowded.View.Snapshot.Budgets {
		for k := range crowded.View.Snapshot.Budgets[i].Protocols {
			crowded.View.Snapshot.Budgets[i].Protocols[k].Spaces = long
		}
	}
	s = newTestServer(t, crowded)
	s.page.history = hour(crowded, 59)
	if n := len(get(t, s.Handler(), "/")); n > 100_000 {
		t.Errorf("the page of many budgets with a past has %d bytes, want at most 100 000", n)
	} else {
		t.Logf("%d bytes", n)
	}
}

// pastState is busyState of an agent that chose its source before there was a flow, and resolves its budgets again for a plan.
func pastState() *State {
	st := busyState()
	st.View.Sources[0].Why = "0 flows tracked"
	b := st.View.Snapshot.Budgets[1].Budget
	b.Params.Name, b.Params.Model, b.Params.Nodes, b.Params.VIPCount = b.Name, b.Model, b.Nodes, b.VIPCount
	b.Params.TCP.CoolDown = map[collector.Reason]time.Duration{}
	for r := range collector.NumReasons {
		b.Params.TCP.CoolDown[r] = 0
	}
	return st
}
