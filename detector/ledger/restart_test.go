package ledger

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
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
					if peak := watch(cool.Seconds() + 60); peak >= detector.PageRaise {
						t.Errorf("P(5 min) %.3f, want below %v", peak, detector.PageRaise)
					}
				})
			}
		}
	}
}
