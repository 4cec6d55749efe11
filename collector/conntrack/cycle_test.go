package conntrack

import (
	"math"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// What the process takes beside its dumps is known from the second dump on, and follows what it takes of late.
func TestMeasureRest(t *testing.T) {
	t.Parallel()
	now, taken := collector.Time(time.Hour), 3*time.Second // it took much to start
	s := &Source{
		clock: newClock(func() collector.Time { return now }),
		cfg:   Config{Process: func() time.Duration { return taken }},
	}
	const dump = 400 * time.Millisecond
	rest := []time.Duration{600 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond, 0}
	for i, want := range []float64{0, 0.02, 0.015, 0.0125} {
		s.measureRest(dump)
		if math.Abs(s.workload.rest-want) > 1e-9 {
			t.Errorf("after dump %d it takes %.4f cores for the rest, want %.4f", i+1, s.workload.rest, want)
		}
		now, taken = now.Add(30*time.Second), taken+dump+rest[i]
	}
	s.cfg.Process, s.workload.rest = nil, 0
	if s.measureRest(dump); s.workload.rest != 0 {
		t.Errorf("it takes %.4f cores for the rest though nobody says so", s.workload.rest)
	}
}
