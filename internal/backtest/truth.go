package backtest

import (
	"math"
	"time"
)

// truth is what came: the held ports of one port space at each tick, counted by
// the replay and not by the ledger.
type truth struct {
	tick          time.Duration
	held, ceiling []int32
	episodes      []episode
	// until[k] is the number of ticks from k to the start of the next episode that
	// starts after k; far when there is none.
	until []int32
}

// episode is a time of exhaustion: from the tick at which the ceiling is reached to the
// tick at which the held ports have been below 95 % of it for a minute.
type episode struct {
	from, to int // to is exclusive
}

const far = math.MaxInt32

// clearFor is how long the held ports must stay below clearBelow of the ceiling
// for an episode to be over.
const (
	clearFor   = time.Minute
	clearBelow = 0.95
)

// tracker follows episodes as ticks come.
type tracker struct {
	quiet int // ticks that end an episode
	below int // ticks below, in an episode
	in    bool
}

func newTracker(tick time.Duration) tracker {
	return tracker{quiet: max(1, int(clearFor/tick))}
}

// step takes the next tick and says whether it lies in an episode.
func (t *tracker) step(held, ceiling int) bool {
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

// settle finds the episodes, once all ticks are known.
func (t *truth) settle() {
	track := newTracker(t.tick)
	was := false
	for k, n := range t.held {
		in := track.step(int(n), int(t.ceiling[k]))
		switch {
		case in && !was:
			t.episodes = append(t.episodes, episode{from: k, to: len(t.held)})
		case was && !in:
			t.episodes[len(t.episodes)-1].to = k
		}
		was = in
	}
	t.until = make([]int32, len(t.held))
	next, e := int32(far), len(t.episodes)-1
	for k := len(t.held) - 1; k >= 0; k-- {
		if next != far {
			next++
		}
		t.until[k] = next
		if e >= 0 && t.episodes[e].from == k {
			next = 0
			e--
		}
	}
}

// ticks returns how many ticks d is.
func (t *truth) ticks(d time.Duration) int { return int(d / t.tick) }

// exhausts says whether an episode starts within (k, k+ahead]; known is false when the record ends
// before that: to keep those that are hit all the same would make hits of most near its end.
func (t *truth) exhausts(k, ahead int) (yes, known bool) {
	return t.until[k] != far && int(t.until[k]) <= ahead, k+ahead < len(t.held)
}
