package forecast

import (
	"math"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// A flow that found no port says nothing of the budget when it gives up two minutes later, in a space
// that is half empty again. One that opened there and is not answered does.
func TestExhaustionIsNoContradiction(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// from and to are the seconds at which flows open that are never answered; the space is full
		// from 600 to 720.
		from, to int
		want     bool
	}{
		{"opened while it was full", 600, 720, false},
		{"opened after", 730, 850, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const full, free, patience = 600, 720, 127
			start := collector.Time(midnight * int64(time.Second))
			b := testBudget(100, 15*time.Second)
			s := NewForecaster(0).Account(b, collector.TCP, start)
			o := s.Outlook(start)
			second := func(n int) collector.Interval { return moment(start.Add(time.Duration(n) * time.Second)) }
			said, opening := false, 0
			for n := 1; n < 1000; n++ {
				now := second(n)
				for range 3 {
					o.Open(now)
					o.Close(now, now, now.To.Add(15*time.Second), collector.FIN)
				}
				for range 50 {
					switch n {
					case full:
						o.Open(now)
					case free:
						o.Close(second(full), now, now.To, collector.FIN)
					}
				}
				if n >= tt.from && n < tt.to {
					o.Open(now)
					opening++
				}
				if n -= patience; n >= tt.from && n < tt.to {
					o.Close(second(n), now, now.To, collector.Timeout)
					opening--
				}
				n += patience
				s.Tick(now.To, b)
				o.Tick(Conditions{Now: now.To, Opening: opening})
				said = said || s.contradiction.until != 0
			}
			if said != tt.want {
				t.Errorf("contradicted %v, want %v", said, tt.want)
			}
		})
	}
}

// Where the probability stays just below a half, as far as numbers tell, the median is at the time when it is reached.
func TestMedianOfEvenOdds(t *testing.T) {
	t.Parallel()
	for h, c := range factoryCalibration() {
		for more := 0.0; more < 6; more += 0.05 {
			s := said{calibration: &c, more: more, even: c.even(more)}
			s.raw, s.at = math.Nextafter(s.even, 0), 10
			median := math.Inf(1)
			p := s.next(s.raw, 20, &median)
			if p < 0.5 == math.IsInf(median, 1) && (p < 0.5 || median >= 10 && median <= 20) {
				continue
			}
			t.Fatalf("horizon %d, log-odds risen by %.2f: probability %v after 20 s, median %v s", h, more, p, median)
		}
	}
}
