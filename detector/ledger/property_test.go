package ledger

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// kernel is a conntrack table and the truth about the flows in it.
type kernel struct {
	rng *rand.Rand
	now float64
	// evicts: a new flow may take the place of a closed entry, which a poll then misses.
	evicts  bool
	nextID  uint32
	entries []*entry // in the order of their hash
	past    []truth
	// queue holds events that were not delivered yet.
	queue []collector.Event
}

// entry is what the kernel shows of a flow.
type entry struct {
	flow    collector.Flow
	opened  float64
	ended   float64
	destroy float64 // when a closed one leaves the table
}

// truth is one flow as it was.
type truth struct {
	port          int
	opened, ended float64
	live          bool
	reason        collector.Reason
}

const (
	simPorts = 60
	timeWait = 14.0 // seconds that a FIN's entry stays
	closeTCP = 10.0 // and an RST's
	coolFIN  = 30 * time.Second
	coolRST  = 4 * time.Second
)

func simBudget() *budget.Budget {
	t := budget.Terms{Ports: 1024, Effective: 1024}
	t.CoolDown[collector.FIN], t.CoolDown[collector.RST] = coolFIN, coolRST
	t.CoolDown[collector.ReasonUnknown] = coolFIN
	return &budget.Budget{Name: "sim", TCP: t}
}

func simFlow(port int) collector.Flow {
	f := flowTo(port, fmt.Sprintf("203.0.113.%d:443", 1+port%5))
	f.Translated = true
	f.VIP = netip.AddrPortFrom(netip.MustParseAddr("198.51.100.1"), uint16(1024+port))
	f.Owner = collector.OwnerNumber(2 + port%7)
	return f
}

func (k *kernel) find(port int) int {
	want := simFlow(port).VIP
	return slices.IndexFunc(k.entries, func(e *entry) bool { return e.flow.VIP == want })
}

func (k *kernel) tell(kind collector.Kind, f collector.Flow) {
	k.queue = append(k.queue, collector.Event{Kind: kind, At: at(k.now), Netns: 1, Flow: f})
}

// step lets a little time pass and one thing happen.
func (k *kernel) step() {
	// Whole ticks of the wheel, so that it releases ports on the moment.
	k.now = math.Round(k.now*10+float64(k.rng.IntN(3))) / 10
	k.expire()
	port := k.rng.IntN(simPorts)
	i := k.find(port)
	switch {
	case i < 0 || k.evicts && k.entries[i].flow.State == collector.Done && k.rng.IntN(3) == 0:
		if i >= 0 {
			k.destroy(i) // a SYN on a closed entry takes its place
		}
		k.nextID++
		f := simFlow(port)
		f.ID, f.Opened, f.Active = k.nextID, exactly(k.now), at(k.now)
		k.entries = slices.Insert(k.entries, k.rng.IntN(len(k.entries)+1), &entry{flow: f, opened: k.now})
		k.past = append(k.past, truth{port: port, opened: k.now, live: true})
		k.tell(collector.Opened, f)
	case k.entries[i].flow.State != collector.Done:
		k.end(port, i)
	}
}

func (k *kernel) end(port, i int) {
	e := k.entries[i]
	e.flow.State, e.flow.Reason, e.ended = collector.Done, collector.FIN, k.now
	e.destroy = k.now + timeWait
	if k.rng.IntN(3) == 0 {
		e.flow.Reason, e.destroy = collector.RST, k.now+closeTCP
	}
	e.flow.Ended = exactly(k.now)
	for j := len(k.past) - 1; j >= 0; j-- {
		if t := &k.past[j]; t.port == port {
			t.live, t.ended, t.reason = false, k.now, e.flow.Reason
			break
		}
	}
}

func (k *kernel) destroy(i int) {
	k.tell(collector.Closed, k.entries[i].flow)
	k.entries = slices.Delete(k.entries, i, i+1)
}

func (k *kernel) expire() {
	for i := len(k.entries) - 1; i >= 0; i-- {
		if e := k.entries[i]; e.flow.State == collector.Done && e.destroy <= k.now {
			k.destroy(i)
		}
	}
}

// deliver hands over the first n events of the queue.
func (k *kernel) deliver(l *Ledger, n int) {
	for i := range n {
		l.Apply(&k.queue[i])
	}
	k.queue = slices.Delete(k.queue, 0, n)
}

// held is the truth at the time now: live and cooling ports by destination.
func (k *kernel) held(now float64) map[string]ports {
	last := map[int]truth{}
	for _, t := range k.past {
		last[t.port] = t
	}
	out := map[string]ports{}
	for port, t := range last {
		d := simFlow(port).Destination.String()
		p := out[d]
		cool := coolFIN
		if t.reason == collector.RST {
			cool = coolRST
		}
		switch {
		case t.live:
			p.Live++
		case t.ended+cool.Seconds() > now+1e-6:
			p.Cooling++
		}
		if p != (ports{}) {
			out[d] = p
		}
	}
	return out
}

func spacesOf(s *detector.Snapshot) map[string]ports {
	out := map[string]ports{}
	for _, sp := range s.Budgets[0].Protocols[0].Spaces {
		if sp.Held > 0 {
			out[sp.Destination] = ports{sp.Live, sp.Cooling}
		}
	}
	return out
}

// run drives a kernel for a while and feeds a ledger: by events with rare dumps, or by dumps
// alone. Dumps take time, in which flows come and go, and events are late by any amount
// up to the next dump's end. lossy drops runs of events, tells an overrun and dumps.
func run(t *testing.T, seed uint64, events, lossy bool) (*Ledger, *kernel) {
	t.Helper()
	k := &kernel{rng: rand.New(rand.NewPCG(seed, 1)), evicts: events}
	// What the reader does is drawn apart, so that kernels of a seed are alike.
	rng := rand.New(rand.NewPCG(seed, 2))
	l := New(Config{Budgets: []*budget.Budget{simBudget()}, Start: at(0), Key: [2]uint64{seed, 7}, Owners: true})
	check := func() {
		t.Helper()
		if err := audit(l); err != nil {
			t.Fatalf("seed %d at %.1f s: %v", seed, k.now, err)
		}
	}
	apply := func(kind collector.Kind, f collector.Flow) {
		l.Apply(&collector.Event{Kind: kind, At: at(k.now), Netns: 1, Flow: f})
	}
	every := 5.0
	if events {
		every = 20
	}
	next, complete := 0.0, 0.0
	for step := 0; step < 1500; step++ {
		k.step()
		if events && (!lossy || step%400 <= 300) {
			k.deliver(l, rng.IntN(len(k.queue)+1))
		} else if !events {
			k.queue = k.queue[:0]
		}
		if lossy && step%400 == 399 {
			k.queue = k.queue[:0]
			apply(collector.Overrun, collector.Flow{})
			next = k.now
		}
		if k.now >= next {
			next = k.now + every
			apply(collector.Begin, collector.Flow{})
			begun := k.now
			// The dump walks the entries while they change.
			shown := map[uint32]bool{}
			late := []collector.Flow{}
			for _, id := range ids(k.entries) {
				if rng.IntN(8) == 0 {
					k.step()
				}
				if i := slices.IndexFunc(k.entries, func(e *entry) bool { return e.flow.ID == id }); i >= 0 && !shown[id] {
					shown[id] = true
					late = append(late, k.entries[i].flow)
				}
				if events && rng.IntN(4) == 0 {
					k.deliver(l, rng.IntN(len(k.queue)+1))
				}
				// Messages wait in the socket for a while.
				for len(late) > 0 && rng.IntN(2) == 0 {
					apply(collector.Seen, late[0])
					late = late[1:]
				}
			}
			for _, f := range late {
				apply(collector.Seen, f)
			}
			// A poll that breaks off twice would miss entries that stay 10 s.
			if rng.IntN(10) == 0 && (events || k.now-complete < 7) {
				apply(collector.Abort, collector.Flow{})
				next = k.now
			} else {
				if events {
					k.deliver(l, len(k.queue))
				} else {
					k.queue = k.queue[:0]
				}
				apply(collector.End, collector.Flow{})
				complete = begun
			}
		}
		if step%25 == 0 {
			check()
		}
	}
	// Everything arrives.
	if events {
		k.now++
		k.deliver(l, len(k.queue))
	}
	for range 2 {
		apply(collector.Begin, collector.Flow{})
		for _, e := range k.entries {
			apply(collector.Seen, e.flow)
		}
		apply(collector.End, collector.Flow{})
	}
	check()
	return l, k
}

func ids(entries []*entry) []uint32 {
	var out []uint32
	for _, e := range entries {
		out = append(out, e.flow.ID)
	}
	return out
}

// However dumps and events interleave, the ledger says what was true.
func TestEventsAndPollsLeadToTheSameLedger(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		for _, events := range []bool{true, false} {
			l, k := run(t, seed, events, false)
			s := l.Snapshot(at(k.now))
			if diff := cmp.Diff(k.held(k.now), spacesOf(s)); diff != "" {
				t.Fatalf("seed %d, events %v: held (-true +ledger):\n%s", seed, events, diff)
			}
			var closed [collector.NumReasons]uint64
			for _, f := range k.past {
				if !f.live {
					closed[f.reason]++
				}
			}
			p := s.Budgets[0].Protocols[0]
			if diff := cmp.Diff(closed, p.Closed); diff != "" || p.Opened != uint64(len(k.past)) {
				t.Fatalf("seed %d, events %v: opened %d of %d, closed (-true +ledger):\n%s", seed, events, p.Opened, len(k.past), diff)
			}
			if !s.Netns[0].Exact {
				t.Errorf("seed %d, events %v: not exact", seed, events)
			}
			drain(t, l, k)
		}
	}
}

// drain closes all flows and expects that every port is released.
func drain(t *testing.T, l *Ledger, k *kernel) {
	t.Helper()
	k.now += 10
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(k.now), Netns: 1})
	l.Apply(&collector.Event{Kind: collector.End, At: at(k.now), Netns: 1})
	if p := l.Snapshot(at(k.now)).Budgets[0].Protocols[0]; p.Live != 0 {
		t.Errorf("%d flows live after an empty dump", p.Live)
	}
	s := l.Snapshot(at(k.now + coolFIN.Seconds() + 0.2))
	if p := s.Budgets[0].Protocols[0]; p.Held != 0 || p.Busiest != 0 {
		t.Errorf("%d ports held for ever", p.Held)
	}
	l.Advance(at(k.now + 3600))
	if err := audit(l); err != nil {
		t.Error(err)
	}
	if l.flows.table.count != 0 {
		t.Errorf("%d entries for ever", l.flows.table.count)
	}
	if len(l.spaces.byKey) != 0 {
		t.Errorf("%d empty port spaces for ever", len(l.spaces.byKey))
	}
}

// After an overrun and a dump the live flows are right at once, and all ports once what
// nobody saw has cooled down.
func TestOverrunsAreRepaired(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		l, k := run(t, seed, true, true)
		s := l.Snapshot(at(k.now))
		if s.Netns[0].EventsLost == 0 || s.Netns[0].Resyncs == 0 || !s.Netns[0].Exact {
			t.Fatalf("seed %d: %+v", seed, s.Netns[0])
		}
		truth, got := k.held(k.now), spacesOf(s)
		for d, p := range truth {
			if got[d].Live != p.Live {
				t.Errorf("seed %d: %s has %d live, ledger says %d", seed, d, p.Live, got[d].Live)
			}
		}
		drain(t, l, k)
	}
}
