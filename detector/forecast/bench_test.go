package forecast

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// outlookBytes is the most that the forecast of one port space may take.
const outlookBytes = 12 << 10

func TestOutlookIsSmall(t *testing.T) {
	t.Parallel()
	if n := unsafe.Sizeof(Outlook{}); n > outlookBytes {
		t.Errorf("an outlook takes %d bytes, want at most %d", n, outlookBytes)
	}
}

// busySpace is a port space in the middle of its day: 800 of 1024 ports held, half of them by
// flows that live for seconds to an hour.
type busySpace struct {
	rng     *rand.Rand
	now     collector.Time
	cool    time.Duration
	rate    int            // flows opened a second
	life    func() float64 // seconds that one lives
	account *Account
	o       *Outlook
	b       *budget.Budget
	live    []collector.Time // opened, by the order of their end
	ends    []collector.Time
}

func testBudget(ports int, cool time.Duration) *budget.Budget {
	t := budget.Terms{Ports: ports, Effective: ports}
	for r := range t.CoolDown {
		t.CoolDown[r] = cool
	}
	return &budget.Budget{Name: "test", Model: "static", TCP: t}
}

func newBusySpace(f *Forecaster, seed uint64) *busySpace {
	s := newSpace(f, seed, 15*time.Second)
	s.rate = 18
	s.life = func() float64 {
		if s.rng.IntN(3) == 0 {
			return 5 / (0.001 + s.rng.Float64())
		}
		return 0.05 * (1 + s.rng.ExpFloat64())
	}
	s.play(1800)
	return s
}

// newSpace is one that nothing has happened in yet.
func newSpace(f *Forecaster, seed uint64, cool time.Duration) *busySpace {
	s := &busySpace{rng: rand.New(rand.NewPCG(seed, 1)), now: 1_700_000_000e9, cool: cool}
	s.b = testBudget(1024, cool)
	s.account = f.Account(s.b, collector.TCP, s.now)
	s.o = s.account.Outlook(s.now)
	return s
}

// play goes on for so many seconds, with a tick after each.
func (s *busySpace) play(seconds int) {
	for range seconds {
		s.second()
		s.tick()
	}
}

// second plays the opens and closes of one second.
func (s *busySpace) second() {
	next := s.now.Add(time.Second)
	for range s.rate {
		s.open(s.now.Add(time.Duration(s.rng.Int64N(1e9))), s.life())
	}
	for i := 0; i < len(s.live); {
		if s.ends[i] > next {
			i++
			continue
		}
		s.o.Close(moment(s.live[i]), moment(s.ends[i]), s.ends[i].Add(s.cool), collector.FIN)
		last := len(s.live) - 1
		s.live[i], s.ends[i] = s.live[last], s.ends[last]
		s.live, s.ends = s.live[:last], s.ends[:last]
	}
	s.now = next
}

// open opens a flow that lives for so many seconds.
func (s *busySpace) open(at collector.Time, life float64) {
	s.o.Open(moment(at))
	s.live = append(s.live, at)
	s.ends = append(s.ends, at.Add(time.Duration(life*1e9)))
}

func (s *busySpace) tick() {
	s.account.Tick(s.now, s.b)
	s.o.Tick(Conditions{Now: s.now})
}

func moment(t collector.Time) collector.Interval { return collector.Interval{From: t, To: t} }

func BenchmarkForecastTick(b *testing.B) {
	for _, bursts := range []int{0, 12, hourBins} {
		b.Run(fmt.Sprintf("bursts=%d", bursts), func(b *testing.B) {
			s := newBusySpace(NewForecaster(0), 1)
			if bursts > 0 {
				r := &s.o.rhythm
				r.first -= 10 * hourBins
				for k := 0; k < hourBins; k += hourBins / bursts {
					r.hour[k] = burst{mean: 500, square: 500 * 500}
				}
			}
			b.ReportAllocs()
			b.ReportMetric(float64(unsafe.Sizeof(*s.o)), "B/space")
			for b.Loop() {
				s.now += 1e5 // 0.1 ms: time hardly passes, so that the space stays as busy as it is
				s.tick()
			}
		})
	}
}

func BenchmarkForecastEvent(b *testing.B) {
	s := newBusySpace(NewForecaster(0), 1)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		at := s.now.Add(time.Duration(i%1000) * time.Millisecond)
		s.o.Open(moment(at))
		s.o.Close(moment(at), moment(at.Add(50*time.Millisecond)), at.Add(15*time.Second), collector.FIN)
		if i++; i%1000 == 0 {
			s.now = s.now.Add(time.Second)
			s.tick()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2, "ns/event")
}
