package forecast

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Ports that a sample counts as held are released, however short the cool-down, and however many they are.
func TestWitnessReleases(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		coolDown time.Duration
		flows    int // a second
		reason   collector.Reason
	}{
		{"within a slot", time.Second, 10, collector.RST},
		{"within a slot, unanswered", time.Second, 10, collector.Timeout},
		{"some slots later", 15 * time.Second, 10, collector.RST},
		{"some slots later, unanswered", 15 * time.Second, 10, collector.Timeout},
		{"more than are counted in a slot", 15 * time.Second, 1<<16 + 9, collector.RST},
		{"more than are counted in a slot, unanswered", 15 * time.Second, 1<<16 + 9, collector.Timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := testBudget(1<<20, 240*time.Second)
			b.TCP.CoolDown[collector.Timeout] = 0
			b.TCP.CoolDown[tt.reason] = tt.coolDown
			s := NewForecaster(0).Account(b, collector.TCP, epoch)
			o := s.Outlook(epoch)
			x := 1.0
			tick := func() {
				s.Tick(at(x), b)
				o.Tick(Conditions{Now: at(x)})
				x++
			}
			tick()
			w := s.assignSample(o, true)
			for n := 0; n < max(1000, 2*tt.flows); n += tt.flows {
				for range tt.flows {
					o.Open(exactly(x))
					o.Close(exactly(x), exactly(x+0.5), at(x+0.5).Add(tt.coolDown), tt.reason)
				}
				tick()
			}
			for end := x + 60; x < end; {
				tick()
			}
			if w.otherSum != 0 || w.unansweredSum != 0 {
				t.Errorf("%d and %d ports are not released", w.otherSum, w.unansweredSum)
			}
		})
	}
}
