package score

import (
	"math"
	"time"
)

// Truth is what came: the held ports of one port space at each tick, counted by
// the replay and not by the ledger.
type Truth struct {
	Tick          time.Duration
	Held, Ceiling []int32
	Episodes      []Span
	// until[k] is the number of ticks from k to the start of the next episode that
	// starts after k; far when there is none.
	until []int32
}

// Span is a time of exhaustion: from the tick at which the ceiling is reached to the
// tick at which the held ports have been below 95 % of it for a minute.
type Span struct {
	From, To int // to is exclusive
}

const far = math.MaxInt32

// clearFor is how long the held ports must stay below clearBelow of the ceiling
// for an episode to be over.
const (
	clearFor   = time.Minute
	clearBelow = 0.95
)

// Tracker follows episodes as ticks come.
type Tracker struct {
	quiet int // ticks that end an episode
	below int // ticks below, in an episode
	in    bool
}

// NewTracker returns a tracker of episodes for ticks of that length.
func NewTracker(tick time.Duration) Tracker {
	return Tracker{quiet: max(1, int(clearFor/tick))}
}

// Step takes the next tick and says whether it lies in an episode.
func (t *Tracker) Step(held, ceiling int) bool {
	switch {
	case !t.in:
		t.in = held >= ceiling
		t.below = 0
	case float64(held) < clearBelow*float64(ceiling):
		if t.below++; t.below > t.quiet {
			t.in = false
		}
	default:
		t.below = 0
	}
	return t.in
}

// Settle finds the episodes, once all ticks are known.
func (t *Truth) Settle() {
	track := NewTracker(t.Tick)
	was := false
	for k, n := range t.Held {
		in := track.Step(int(n), int(t.Ceiling[k]))
		switch {
		case in && !was:
			t.Episodes = append(t.Episodes, Span{From: k, To: len(t.Held)})
		case was && !in:
			t.Episodes[len(t.Episodes)-1].To = k
		}
		was = in
	}
	t.until = make([]int32, len(t.Held))
	next, e := int32(far), len(t.Episodes)-1
	for k := len(t.Held) - 1; k >= 0; k-- {
		if next != far {
			next++
		}
		t.until[k] = next
		if e >= 0 && t.Episodes[e].From == k {
			next = 0
			e--
		}
	}
}

// Ticks returns how many ticks d is.
func (t *Truth) Ticks(d time.Duration) int { return int(d / t.Tick) }

// Exhausts says whether an episode starts within (k, k+ahead]; known is false when the record ends
// before that: to keep those that are hit all the same would make hits of most near its end.
func (t *Truth) Exhausts(k, ahead int) (yes, known bool) {
	return t.until[k] != far && int(t.until[k]) <= ahead, k+ahead < len(t.Held)
}
