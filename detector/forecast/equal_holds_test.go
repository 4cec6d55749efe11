package forecast

import (
	"fmt"
	"math"
	"testing"
)

// Flows that all live equally long, as under a timer, hold rate times life ports, whatever the timer: 22 s lies at the
// end of a bucket of lifetimes, 24 s at the beginning of one, 30 s between.
func TestEqualLifetimesAreForeseen(t *testing.T) {
	t.Parallel()
	for _, life := range []float64{10, 22, 24, 30, 60} {
		t.Run(fmt.Sprintf("%g s", life), func(t *testing.T) {
			t.Parallel()
			s := newSpace(NewForecaster(0), 1, 0)
			s.rate = 600 / int(life)
			s.life = func() float64 { return life }
			s.play(900)
			want := life
			got, _ := s.o.account.f.work.gain(s.account, 600)
			if math.Abs(got-want) > want/12 {
				t.Errorf("an open a second holds %.1f ports, want %.1f within a twelfth", got, want)
			}
		})
	}
}
