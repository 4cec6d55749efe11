package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// steadyLoad is what conntrack shows of flows that open at a steady rate and live for some seconds each: live flows, and
// for two minutes those that ended by FIN.
type steadyLoad struct {
	rate, lifetime float64
	// stamps: the kernel says when each flow opened.
	stamps bool
}

// dump shows l at the time t, with times of ends known to a second, as conntrack's timeouts give them.
func (s steadyLoad) dump(l *Ledger, t float64) {
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(t), Netns: 1})
	for n := max(0, int((t-120-s.lifetime)*s.rate)); float64(n)/s.rate < t; n++ {
		f := flowTo(n%60000, store)
		opened := float64(n) / s.rate
		f.Opened = collector.Interval{To: at(t)}
		if ended := opened + s.lifetime; ended < t {
			ago := math.Floor(t - ended)
			f.State, f.Reason = collector.Done, collector.FIN
			f.Ended = collector.Interval{From: at(t - ago - 1), To: at(t - ago)}
			f.Opened.To = f.Ended.To
		}
		if s.stamps {
			f.Opened = exactly(opened)
		}
		l.Apply(&collector.Event{Kind: collector.Seen, At: at(t), Netns: 1, Flow: f})
	}
	l.Apply(&collector.Event{Kind: collector.End, At: at(t), Netns: 1})
}

// A restart under a steady load that holds 57 % of the budget raises no prediction, whatever the kernel tells of
// opens and however little the agent had learned.
func TestRestartRaisesNoPrediction(t *testing.T) {
	t.Parallel()
	const ports, gap = 1024, 3
	const quiet = 0.3 // the probability stays below it: a page takes more
	for _, cool := range []time.Duration{15 * time.Second, 240 * time.Second} {
		for _, learned := range []float64{40, 600} {
			for _, stamps := range []bool{false, true} {
				t.Run(fmt.Sprintf("cool-down %v, learned for %v s, stamps %v", cool, learned, stamps), func(t *testing.T) {
					t.Parallel()
					load := steadyLoad{rate: 0.57 * ports / (cool.Seconds() + 3), lifetime: 3, stamps: stamps}
					budgets := []*budget.Budget{coolingBudget(ports, cool)}
					now := 1000.3 // when the first agent starts
					l := New(Config{Budgets: budgets, Start: at(now)})
					watch := func(seconds float64) (peak float64) {
						for end := now + seconds; now < end; now++ {
							load.dump(l, now)
							if s := l.Snapshot(at(now)).Budgets[0].Protocols[0].Spaces; len(s) > 0 && s[0].Forecast != nil {
								peak = max(peak, s[0].Forecast.Probability[1]) // by PageHorizon
							}
						}
						return peak
					}
					watch(learned)
					state := l.AppendState(nil)
					now += gap
					l = New(Config{Budgets: budgets, Start: at(now - 0.9)})
					if err := l.Restore(state, at(now-0.9)); err != nil {
						t.Fatal(err)
					}
					if peak := watch(cool.Seconds() + 60); peak >= quiet {
						t.Errorf("P(5 min) %.3f, want below %v", peak, quiet)
					}
				})
			}
		}
	}
}

// Each flow that opened counts once over a restart, also those that opened, or opened and ended, without an agent. So
// does each end.
func TestHandoverCountsEachFlowOnce(t *testing.T) {
	t.Parallel()
	for _, stamps := range []bool{false, true} {
		for _, gap := range []float64{0.2, 3, 30} {
			t.Run(fmt.Sprintf("stamps %v, %v s without an agent", stamps, gap), func(t *testing.T) {
				t.Parallel()
				budgets := []*budget.Budget{coolingBudget(1024, 15*time.Second)}
				load := steadyLoad{rate: 20.03, lifetime: 3, stamps: stamps}
				// The agent before runs from the first flow on; what it handed over goes to the next.
				now := -0.5
				l := New(Config{Budgets: budgets, Start: at(now)})
				for range 4 {
					for range 20 {
						load.dump(l, now)
						now++
					}
					opened := uint64(math.Ceil((now - 1) * load.rate))
					ended := uint64(math.Ceil((now - 1 - load.lifetime) * load.rate))
					a := l.Snapshot(at(now - 1)).Budgets[0].Protocols[0]
					if got := total(a.Closed[:]); a.Opened != opened || got != ended || a.Live != int(opened-ended) {
						t.Fatalf("at %.1f s %d opened, %d ended, %d live, want %d, %d, %d", now-1, a.Opened, got, a.Live, opened, ended, opened-ended)
					}
					state, handover := l.AppendState(nil), l.AppendHandover(nil)
					now += gap
					l = New(Config{Budgets: budgets, Start: at(now), Key: [2]uint64{uint64(now), 7}})
					if err := l.Restore(state, at(now)); err != nil {
						t.Fatal(err)
					}
					if err := l.TakeOver(handover, at(now)); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// Meanwhile one flow went without a trace, another took the port of one that went, and one stayed.
func TestHandoverOfFlowsThatWent(t *testing.T) {
	t.Parallel()
	budgets := []*budget.Budget{coolingBudget(100, 0)}
	l := New(Config{Budgets: budgets, Start: at(0)})
	empty(l, 0)
	dump := func(seconds float64, flows ...collector.Flow) {
		l.Apply(&collector.Event{Kind: collector.Begin, At: at(seconds), Netns: 1})
		for _, f := range flows {
			f.Opened.To = at(seconds)
			l.Apply(&collector.Event{Kind: collector.Seen, At: at(seconds), Netns: 1, Flow: f})
		}
		l.Apply(&collector.Event{Kind: collector.End, At: at(seconds), Netns: 1})
	}
	dump(1, flowTo(1, store), flowTo(2, store), flowTo(3, store))
	handover := l.AppendHandover(nil)
	l = New(Config{Budgets: budgets, Start: at(4)})
	if err := l.TakeOver(handover, at(4)); err != nil {
		t.Fatal(err)
	}
	another := flowTo(2, store)
	another.ID = 77
	dump(4, another, flowTo(3, store))
	a := l.Snapshot(at(4)).Budgets[0].Protocols[0]
	if a.Opened != 4 || a.Closed[collector.ReasonUnknown] != 2 || a.Live != 2 {
		t.Errorf("%d opened, %d ended for an unknown reason, %d live, want 4, 2, 2", a.Opened, a.Closed[collector.ReasonUnknown], a.Live)
	}
}

// Other budgets may come before the first dump: the flows of the agent before count under the budget that they had.
func TestHandoverAndOtherBudgets(t *testing.T) {
	t.Parallel()
	first, other := coolingBudget(100, 0), coolingBudget(100, 0)
	other.Name, other.Netns = "other", 2
	budgets := []*budget.Budget{first}
	before := New(Config{Budgets: budgets, Start: at(0)})
	empty(before, 0)
	before.Apply(&collector.Event{Kind: collector.Begin, At: at(1), Netns: 1})
	f := flowTo(1, store)
	f.Opened.To = at(1)
	before.Apply(&collector.Event{Kind: collector.Seen, At: at(1), Netns: 1, Flow: f})
	before.Apply(&collector.Event{Kind: collector.End, At: at(1), Netns: 1})
	handover := before.AppendHandover(nil)
	for _, met := range []bool{false, true} {
		l := New(Config{Budgets: budgets, Start: at(4)})
		if err := l.TakeOver(handover, at(4)); err != nil {
			t.Fatal(err)
		}
		if met {
			l.Apply(&collector.Event{Kind: collector.Begin, At: at(4), Netns: 1})
		}
		l.Reconfigure([]*budget.Budget{other, first})
		empty(l, 5)
		bs := l.Snapshot(at(6)).Budgets
		was, now := bs[0].Protocols[0], bs[1].Protocols[0]
		if total(was.Closed[:]) != 0 || now.Opened != 1 || now.Closed[collector.ReasonUnknown] != 1 {
			t.Errorf("namespace met %v: %d flows of the other budget ended; of its own %d opened, %d ended, want 1, 1",
				met, total(was.Closed[:]), now.Opened, now.Closed[collector.ReasonUnknown])
		}
	}
}

// What the agent before knew of a namespace that does not come again is not kept.
func TestHandoverOfVanishedNamespace(t *testing.T) {
	t.Parallel()
	l := New(Config{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(1200)})
	if err := l.TakeOver(taught(t).AppendHandover(nil), at(1200)); err != nil {
		t.Fatal(err)
	}
	if len(l.namespaces.handed) == 0 {
		t.Fatal("nothing was handed over")
	}
	for seconds := 1201.0; seconds < 2000; seconds += 10 {
		l.Apply(&collector.Event{Kind: collector.Begin, At: at(seconds), Netns: 99})
		l.Apply(&collector.Event{Kind: collector.End, At: at(seconds), Netns: 99})
	}
	if n := len(l.namespaces.handed); n != 0 {
		t.Errorf("what was known of %d namespaces is kept", n)
	}
}

func total(counts []uint64) (sum uint64) {
	for _, n := range counts {
		sum += n
	}
	return sum
}

// Of a handover that is too old only the counts are used, and of one that is damaged nothing.
func TestHandoverThatIsOldOrDamaged(t *testing.T) {
	t.Parallel()
	budgets := []*budget.Budget{coolingBudget(100, 15*time.Second)}
	good := taught(t).AppendHandover(nil)
	restarted := func(handover []byte, seconds float64) (*Ledger, error) {
		l := New(Config{Budgets: budgets, Start: at(seconds)})
		return l, l.TakeOver(handover, at(seconds))
	}
	l, err := restarted(good, 1200+handoverFresh.Seconds()+1)
	if err != nil {
		t.Fatal(err)
	}
	empty(l, 1400)
	f := flowTo(5000, store)
	f.Opened.To = at(1401)
	l.Apply(&collector.Event{Kind: collector.Begin, At: at(1401), Netns: 1})
	l.Apply(&collector.Event{Kind: collector.Seen, At: at(1401), Netns: 1, Flow: f})
	if got := l.Snapshot(at(1402)).Budgets[0].Protocols[0]; got.Opened != 1201 {
		t.Errorf("%d opened, want the 1200 from before and one", got.Opened)
	}
	for name, b := range map[string][]byte{
		"empty": nil, "cut off": good[:len(good)-5], "damaged": append([]byte("S"), good[1:]...), "text": []byte("budgets: []"),
	} {
		l, err := restarted(b, 1200)
		if got := l.Snapshot(at(1202)).Budgets[0].Protocols[0]; !errors.Is(err, forecast.ErrState) || got.Opened != 0 {
			t.Errorf("%s: %v, %d opened", name, err, got.Opened)
		}
	}
}

// Any bytes: an error, and a ledger as it was, or a handover.
func FuzzTakeOver(f *testing.F) {
	good := taught(f).AppendHandover(nil)
	f.Add([]byte{}, 0)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, len(handoverMagic)+24)
	f.Fuzz(func(t *testing.T, b []byte, from int) {
		from = min(max(from, 0), len(good)-4)
		body := append(slices.Clone(good[:from]), b...)
		body = append(body, good[min(len(good)-4, from+len(b)):len(good)-4]...)
		whole := binary.LittleEndian.AppendUint32(body, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
		l := New(Config{Budgets: []*budget.Budget{coolingBudget(100, 15*time.Second)}, Start: at(1200)})
		before := l.AppendHandover(nil)
		if err := l.TakeOver(whole, at(1200)); err != nil && !bytes.Equal(before, l.AppendHandover(nil)) {
			t.Errorf("%v, and the ledger changed", err)
		}
		empty(l, 1201)
	})
}

// A flow on the five-tuple and with the id of one that the agent before saw end counts once: the event of that old end,
// which comes after the first dump has shown the new flow, ends nothing.
func TestHandoverWhilePortsComeRound(t *testing.T) {
	t.Parallel()
	for _, announced := range []bool{true, false} { // the event that the new flow opened comes too
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		f := flowTo(1, store)
		s.dump(1)
		s.dump(10, polled(f, 10))
		s.dump(20, done(f, collector.FIN, 15))
		handover := s.AppendHandover(nil)
		s = newScript(t, Config{Budgets: []*budget.Budget{azure()}, Start: at(30)})
		if err := s.TakeOver(handover, at(30)); err != nil {
			t.Fatal(err)
		}
		s.dump(31, polled(f, 31))
		old := f
		old.State, old.Reason, old.Opened = collector.Done, collector.FIN, collector.Interval{To: at(15)}
		old.Ended = collector.Interval{From: at(14), To: at(15)}
		s.event(collector.Closed, 31.6, old)
		if announced {
			s.open(31.6, f)
		}
		fin := map[collector.Reason]uint64{collector.FIN: 1}
		s.wantTotals(32, 2, fin)
		s.dump(33, polled(f, 33))
		s.wantTotals(33, 2, fin)
		if n := s.Snapshot(at(34)).Netns[0]; !n.Exact || n.Mismatches != 0 {
			t.Errorf("%+v", n)
		}
		s.close(35, f, collector.FIN)
		fin[collector.FIN] = 2
		s.wantTotals(36, 2, fin)
	}
}

// An end that the agent before saw in a dump that it did not complete counts once, however often the next agent sees it.
func TestHandoverAmidADump(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	f := flowTo(1, store)
	s.dump(1)
	s.dump(10, polled(f, 10))
	s.event(collector.Begin, 13, collector.Flow{})
	s.event(collector.Seen, 14, done(f, collector.FIN, 13.9))
	handover := s.AppendHandover(nil)
	s = newScript(t, Config{Budgets: []*budget.Budget{azure()}, Start: at(15)})
	if err := s.TakeOver(handover, at(15)); err != nil {
		t.Fatal(err)
	}
	for seconds := 16.0; seconds < 22; seconds += 2 {
		s.dump(seconds, done(f, collector.FIN, 13.9))
		s.wantTotals(seconds+1, 1, map[collector.Reason]uint64{collector.FIN: 1})
		s.want(seconds+1, 0, 1)
	}
	s.want(13.9+239, 0, 1)
	s.want(13.9+241, 0, 0)
}
