package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/forecasttest"
)

// Whatever happens in whatever order, what leaves the forecast is a number.
func FuzzForecastIsFinite(f *testing.F) {
	f.Add(uint64(1), uint16(1024), uint16(240), []byte{1, 2, 3, 200, 100, 0, 0, 255, 7, 9})
	f.Add(uint64(2), uint16(1), uint16(0), []byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, seed uint64, ports, cool uint16, script []byte) {
		rng := rand.New(rand.NewPCG(seed, 0))
		b := testBudget(max(1, int(ports)), time.Duration(cool)*time.Second)
		fc := NewForecaster(0)
		now := epoch
		s := fc.Account(b, collector.TCP, now)
		o := s.Outlook(now)
		type live struct{ opened collector.Interval }
		var open []live
		for _, op := range script {
			now = now.Add(time.Duration(rng.ExpFloat64() * float64(time.Second) * math.Exp2(float64(op%20)-6)))
			switch op >> 6 {
			case 0, 1:
				for range op & 31 {
					i := collector.Interval{From: now.Add(-time.Duration(rng.Int64N(1e10))), To: now}
					switch rng.IntN(3) {
					case 0:
						i.From = i.To
					case 1:
						i.From = 0
					}
					o.Open(i)
					s.Opened(i)
					open = append(open, live{i})
				}
			case 2:
				for range op & 31 {
					if len(open) == 0 {
						break
					}
					i := open[len(open)-1].opened
					open = open[:len(open)-1]
					ended := collector.Interval{From: max(i.From, now-1e9), To: now}
					o.Close(i, ended, now.Add(time.Duration(cool)*time.Second), collector.Reason(rng.IntN(int(collector.NumReasons))))
					s.Closed(i, ended, collector.FIN)
				}
			case 3:
				b.Nodes += int(op & 3)
				b.NextTierPorts, b.NodesToNextTier = b.TCP.Ports/2, 1
			}
			s.Tick(now, b)
			o.Tick(Conditions{Now: now, InexactSince: now * collector.Time(op&1)})
			forecasttest.Check(t, &o.forecast)
		}
	})
}

// A poll every 5 s knows of a 50 ms flow only that it lived at most 5 s.
func TestBoundedLifetimesAreNotTakenForLong(t *testing.T) {
	t.Parallel()
	const poll = 5
	for _, tt := range []struct {
		name string
		life float64
		// The share that outlives 1 s must lie between these.
		least, most float64
	}{
		{"50 ms", 0.05, 0, 0.02},
		{"30 s", 30, 0.95, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(3, 4))
			f := NewForecaster(0)
			b := testBudget(1024, 0)
			s := f.Account(b, collector.TCP, epoch)
			o := s.Outlook(epoch)
			type flow struct {
				opened collector.Interval
				end    float64
			}
			var open []flow
			for x := 0.0; x < 900; x += poll {
				seen := at(x + poll)
				open = slices.DeleteFunc(open, func(f flow) bool {
					if f.end > x+poll {
						return false
					}
					o.Close(f.opened, exactly(f.end), 0, collector.FIN)
					return true
				})
				for range 20 {
					start := x + poll*rng.Float64()
					i := collector.Interval{From: at(x), To: seen}
					if end := start + tt.life; end <= x+poll {
						i.To = at(end)
						o.Open(i)
						o.Close(i, exactly(end), 0, collector.FIN)
					} else {
						o.Open(i)
						open = append(open, flow{i, end})
					}
				}
				s.Tick(seen, b)
				o.Tick(Conditions{Now: seen})
			}
			if got := float64(o.times.survive[ageBucket(1)]); got < tt.least || got > tt.most {
				t.Errorf("%.3f of the flows outlive 1 s, want %v to %v", got, tt.least, tt.most)
			}
			if got := o.rate; got < 3.5 || got > 4.5 {
				t.Errorf("%.2f opens a second, want 4", got)
			}
		})
	}
}

// Flows older than the agent count from when it saw them: their mean lifetime comes out right.
func TestLeftTruncation(t *testing.T) {
	t.Parallel()
	const mean = 10.0
	rng := rand.New(rand.NewPCG(5, 6))
	f := NewForecaster(0)
	b := testBudget(4096, 0)
	s := f.Account(b, collector.TCP, at(0))
	o := s.Outlook(at(0))
	type flow struct{ from, to float64 }
	var flows []flow
	for x := -200.0; x < 600; x += rng.ExpFloat64() / 20 {
		flows = append(flows, flow{x, x + mean*rng.ExpFloat64()})
	}
	var open []flow
	for x := 0.0; x <= 600; x++ {
		for len(flows) > 0 && flows[0].from <= x {
			switch f := flows[0]; {
			case f.to <= 0:
			case f.from <= 0 && f.to > 0 && x == 0:
				o.HaveLive(exactly(f.from))
				open = append(open, f)
			default:
				o.Open(exactly(f.from))
				open = append(open, f)
			}
			flows = flows[1:]
		}
		open = slices.DeleteFunc(open, func(f flow) bool {
			if f.to > x {
				return false
			}
			o.Close(exactly(f.from), exactly(f.to), 0, collector.FIN)
			return true
		})
		s.Tick(at(x), b)
		o.Tick(Conditions{Now: at(x)})
	}
	got, _ := f.work.curve.mean(1e4)
	if got < 0.9*mean || got > 1.1*mean {
		t.Errorf("mean lifetime %.2f s, want %.0f within a tenth", got, mean)
	}
}

// While opens fail for ports the answer is now, whatever else is seen.
func TestFailingIsNow(t *testing.T) {
	t.Parallel()
	f := NewForecaster(0)
	b := testBudget(1024, 0)
	s := f.Account(b, collector.TCP, epoch)
	o := s.Outlook(epoch)
	s.Tick(epoch, b)
	o.Tick(Conditions{Now: epoch, Failing: true})
	if got := o.forecast; got.TimeToExhaustion != 0 || got.Probability != [detector.NumHorizons]float64{1, 1, 1, 1} {
		t.Errorf("got %+v, want certainty now", got)
	}
	now := epoch.Add(time.Second)
	s.Tick(now, b)
	o.Tick(Conditions{Now: now})
	if got := o.forecast.TimeToExhaustion; got == 0 {
		t.Error("still now when nothing fails any more")
	}
}

// A ledger that lost events says so with a wider band.
func TestInexactWidens(t *testing.T) {
	t.Parallel()
	a, b := newBusySpace(NewForecaster(0), 1), newBusySpace(NewForecaster(0), 1)
	a.second()
	b.second()
	a.o.Tick(Conditions{Now: a.now})
	b.o.Tick(Conditions{Now: b.now, InexactSince: b.now - 1e9})
	if a.o.forecast.Inexact || !b.o.forecast.Inexact {
		t.Error("Inexact does not say which is")
	}
	for h := range detector.NumHorizons {
		if a.o.forecast.Variance[h] >= b.o.forecast.Variance[h] {
			t.Errorf("horizon %d: variance %v inexact, %v exact", h, b.o.forecast.Variance[h], a.o.forecast.Variance[h])
		}
	}
}
