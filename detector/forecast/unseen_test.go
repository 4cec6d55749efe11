package forecast

import (
	"math"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// warm makes a tick of an agent that came at start.
func (s *busySpace) warm(start collector.Time) {
	s.account.Tick(s.now, s.b)
	s.o.Tick(Conditions{Now: s.now, WarmingUntil: start.Add(s.cool)})
}

// An agent that starts beside a steady load does not page: of what closed before there is no more than the rate
// it sees can have left.
func TestStartOfASteadyLoadIsCalm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cool time.Duration
		rate int
		life float64
		// shown is how long conntrack shows what closed before the start.
		shown time.Duration
	}{
		{"60 % cooling for 240 s", 240 * time.Second, 3, 0.05, 0}, // 717 of 1024 at the most
		{"60 % cooling for 240 s, half of it shown", 240 * time.Second, 3, 0.05, 120 * time.Second},
		{"55 % cooling for 15 s", 15 * time.Second, 37, 0.05, 0},
		{"55 % cooling for 15 s, 10 s of it shown", 15 * time.Second, 37, 0.05, 10 * time.Second},
		{"59 % live for 20 s", 0, 30, 20, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(5) {
				s := newSpace(NewForecaster(0), seed, tt.cool)
				s.life = func() float64 { return tt.life * (0.5 + s.rng.Float64()) }
				s.rate = tt.rate
				s.play(500)
				start := s.now
				s.account = s.o.account.f.Account(s.b, collector.TCP, start)
				s.o = s.account.Outlook(start)
				for _, at := range s.live {
					s.o.Open(moment(at))
				}
				for i := range int64(tt.rate) * int64(tt.shown/time.Second) {
					ended := start.Add(-time.Duration(i) * time.Second / time.Duration(tt.rate))
					s.o.Open(collector.Interval{To: ended})
					s.o.Close(collector.Interval{To: ended}, moment(ended), ended.Add(tt.cool), collector.FIN)
				}
				for second := range 400 {
					s.rate = tt.rate
					if second%5 == 0 && tt.cool > time.Minute {
						s.rate-- // 2.8 a second
					}
					s.second()
					s.warm(start)
					f := &s.o.forecast
					if f.Probability[1] >= 0.15 {
						t.Fatalf("seed %d: P(5 min) is %.2f after %d s, of a mean of %.0f ports", seed, f.Probability[1], second+1, f.Mean[1])
					}
				}
			}
		})
	}
}

// A load that is far too high is seen within seconds of the agent's start.
func TestStartOfAnIncidentPages(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		s := newSpace(NewForecaster(0), seed, 240*time.Second)
		s.life = func() float64 { return 0.05 }
		s.rate = 9 // 4.3 would do
		start := s.now
		for second := 1; ; second++ {
			s.second()
			s.warm(start)
			if s.o.forecast.Urgency >= detector.PageRaise {
				break
			}
			if second == 40 {
				t.Fatalf("seed %d: P(5 min) is %.2f after %d s", seed, s.o.forecast.Probability[1], second)
			}
		}
	}
}

// After a restart with a state the forecast goes on as if it had not stopped, though nobody shows what was cooling.
func TestStateGoesOn(t *testing.T) {
	t.Parallel()
	const cool = 240 * time.Second
	s := newSpace(NewForecaster(0), 3, cool)
	s.rate = 3
	s.life = func() float64 { return 0.05 * (0.5 + s.rng.Float64()) }
	s.play(1800)
	was := s.o
	m := was.remember(s.now)

	for range 30 { // that the new agent does not see
		s.second()
		s.tick()
	}
	o := s.account.Outlook(s.now)
	o.recall(&m, s.now)
	start := s.now
	for second := range 300 {
		s.second()
		s.tick()
		for range s.rate { // whatever the old one saw
			at := s.now.Add(-500 * time.Millisecond)
			o.Open(moment(at))
			o.Close(moment(at), moment(at.Add(50*time.Millisecond)), at.Add(50*time.Millisecond+cool), collector.FIN)
		}
		o.Tick(Conditions{Now: s.now, WarmingUntil: start.Add(cool)})
		for h := range detector.NumHorizons {
			a, b := was.forecast.Mean[h], o.forecast.Mean[h]
			if math.Abs(a-b) > 0.1*a {
				t.Fatalf("%d s after the restart: a mean of %.0f ports at horizon %d, %.0f without it", second+1, b, h, a)
			}
		}
		if p := o.forecast.Probability[1]; p >= detector.PageClear {
			t.Fatalf("%d s after the restart: P(5 min) is %.2f", second+1, p)
		}
	}
	if o.before != nil {
		t.Error("it still counts what was cooling before the restart")
	}
}
