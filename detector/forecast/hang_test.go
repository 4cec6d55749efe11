package forecast

import (
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// waitingSpace is a port space of 34 calls a second of 50 ms under a cool-down of 15 s, of which a share hangs for 30 s
// without an answer.
type waitingSpace struct {
	*busySpace
	hangs []collector.Time // when the flows opened that hang
	share float64
}

func newWaitingSpace(seed uint64) *waitingSpace {
	s := &waitingSpace{busySpace: newSpace(NewForecaster(0), seed, 15*time.Second)}
	s.life = func() float64 { return 0.05 * (1 + s.rng.ExpFloat64()) }
	return s
}

// play goes on for a second.
func (s *waitingSpace) play() {
	const hang = 30 * time.Second
	n := s.poisson(34)
	s.rate = 0
	for range n {
		if s.rng.Float64() >= s.share {
			s.rate++
			continue
		}
		at := s.now.Add(time.Duration(s.rng.Int64N(1e9)))
		s.o.Open(moment(at))
		s.o.AddUnconfirmed(1)
		s.hangs = append(s.hangs, at)
	}
	s.second()
	for len(s.hangs) > 0 && s.hangs[0].Add(hang) <= s.now {
		end := s.hangs[0].Add(hang)
		s.o.AddUnconfirmed(-1)
		s.o.Close(moment(s.hangs[0]), moment(end), end.Add(s.cool), collector.Timeout)
		s.hangs = s.hangs[1:]
	}
	s.tick()
}

// A server stops answering: that flows wait for it says within seconds that the ports will be gone.
func TestUnansweredFlowsTellBeforeOneEnds(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		s := newWaitingSpace(seed)
		for range 1200 {
			s.play()
			if p := s.o.forecast.Probability[0]; p > 0.05 {
				t.Fatalf("seed %d: probability %.2f while all is well", seed, p)
			}
		}
		s.share = 0.9
		for range 5 {
			s.play()
		}
		if p := s.o.forecast.Probability[0]; p < 0.2 {
			t.Errorf("seed %d: 5 s after 90 %% of the flows began to hang, exhaustion within a minute has probability %.2f, "+
				"want 0.2 or more", seed, p)
		}
	}
}

// Flows that are never answered, as ever, tell nothing.
func TestUsualUnansweredFlowsTellNothing(t *testing.T) {
	t.Parallel()
	s := newWaitingSpace(1)
	s.share = 0.1
	for second := range 3600 {
		s.play()
		if x := s.account.f.work.hangs; x > 0 && second > 60 {
			t.Fatalf("after %d s a share of %.2f of the flows is taken to hang", second, x)
		}
	}
}

// Where only dumps tell that flows were answered, all that opened since the last dump wait for it.
func TestFlowsBetweenDumpsDoNotHang(t *testing.T) {
	t.Parallel()
	for _, every := range []int{5, 10, 30, 120} {
		s := newWaitingSpace(2)
		waiting := int32(0)
		for second := range 1800 {
			before := s.o.opened
			s.play()
			n := int32(s.o.opened - before)
			s.o.AddUnconfirmed(n)
			if waiting += n; second%every == 0 {
				s.o.AddUnconfirmed(-waiting)
				waiting = 0
			}
			if x := s.account.f.work.hangs; x > 0 && second > 2*every {
				t.Fatalf("dumps every %d s: after %d s a share of %.2f of the flows is taken to hang", every, second, x)
			}
		}
	}
}

// An agent that starts does not know how many flows usually wait for an answer. The flows that opened since the last
// dump do not hang, nor do those that are never answered, as ever; with the state of hours before the start, too.
func TestFlowsDoNotHangAtTheStart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		share float64 // of flows that are never answered
		every int     // seconds from dump to dump
		state bool
	}{
		{"dumps tell answers", 0, 30, false},
		{"dumps tell answers, restored", 0, 30, true},
		{"a flow in ten is never answered", 0.1, 1, false},
		{"a flow in ten is never answered, restored", 0.1, 1, true},
	} {
		s := newWaitingSpace(3)
		s.share = tt.share
		waiting := int32(0)
		play := func(second int) {
			before := s.o.opened
			s.play()
			if n := int32(s.o.opened - before); tt.every > 1 {
				s.o.AddUnconfirmed(n)
				waiting += n
			}
			if second%tt.every == 0 {
				s.o.AddUnconfirmed(-waiting)
				waiting = 0
			}
		}
		for second := range 3600 {
			play(second)
		}
		m := s.o.remember(s.now)
		s.o = s.account.Outlook(s.now)
		if tt.state {
			s.o.recall(&m, s.now)
		}
		s.hangs, s.live, s.ends, waiting = nil, nil, nil, 0
		for second := range 300 {
			play(second)
			if x := s.account.f.work.hangs; x > 0 {
				t.Fatalf("%s: %d s after the start a share of %.2f of the flows is taken to hang", tt.name, second, x)
			}
		}
	}
}
