package detector

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Lifetimes are counted in ageBuckets buckets: below 1 ms, then two per octave, the
// last one open (above 4.66 h).
const ageBuckets = 50

// ageBucket is the bucket of a lifetime in seconds.
func ageBucket(s float64) int {
	ms := s * 1e3
	if !(ms >= 1) {
		return 0
	}
	b := math.Float64bits(ms)
	k := 2*(int(b>>52)-1023) + 1
	if b&(1<<52-1) >= 0x6a09e667f3bcd { // mantissa at or above √2
		k++
	}
	return min(k, ageBuckets-1)
}

// ageEdge is the lower edge of bucket k in seconds.
func ageEdge(k int) float64 {
	if k == 0 {
		return 0
	}
	return 1e-3 * math.Exp2(float64(k-1)/2)
}

// ageEdges are the lower edges of all buckets, and the end of the last for those
// sums that need one.
type ageEdges [ageBuckets + 1]float64

func newAgeEdges() *ageEdges {
	var e ageEdges
	for k := range e {
		e[k] = ageEdge(k)
	}
	return &e
}

// occurrence counts ends of flows and the seconds spent alive, by age: their
// quotient is the hazard. Live flows give seconds without an end (right-censored); flows
// older than the agent give seconds only from when it saw them (left-truncated).
type occurrence struct {
	ended, lived [ageBuckets]float32
}

// decay forgets: both sums shrink by factor f.
func (o *occurrence) decay(f float64) {
	for k := range o.ended {
		o.ended[k] *= float32(f)
		o.lived[k] *= float32(f)
	}
}

// lifetimes learns how long flows live.
type lifetimes struct {
	ages ageWheel
	// fast, minute and hour forget with the speeds of hazardTaus.
	speeds [numSpeeds]occurrence
	// closed and beyond are the flows that ended since the last tick, by bucket of
	// their lifetime, and the sum of their seconds beyond the bucket's lower edge.
	closed, beyond [ageBuckets]float32
	// lived is the overlap of the live flows with each bucket at the last tick.
	lived [ageBuckets]float32
	// survive is the share that outlives each lower edge, at the last tick.
	survive [ageBuckets + 1]float32
	any     bool // a flow closed since the last tick
}

// The three speeds of forgetting, fastest first.
const (
	fast = iota
	minute
	hour
	numSpeeds
)

func hazardTaus() [numSpeeds]float64 { return [numSpeeds]float64{8, 60, 3600} }

// end counts a flow that lived between lo and hi: exactly, or bounded by polls. A
// bounded lifetime is spread over its interval as the hazards known so far have it, so
// that a short flow seen only by a slow poll is not taken for a long one.
func (l *lifetimes) end(lo, hi time.Duration, edges *ageEdges) {
	l.any = true
	lo, hi = max(lo, 0), max(hi, 0)
	if hi-lo <= time.Millisecond || hi-lo <= hi/8 {
		s := (lo + hi).Seconds() / 2
		k := ageBucket(s)
		l.closed[k]++
		l.beyond[k] += float32(s - edges[k])
		return
	}
	a, b := lo.Seconds(), hi.Seconds()
	first, last := ageBucket(a), ageBucket(b)
	if first == last {
		l.closed[first]++
		l.beyond[first] += float32((a+b)/2 - edges[first])
		return
	}
	var share [ageBuckets]float32
	sum := float32(0)
	for k := first; k <= last; k++ {
		from, to := max(a, edges[k]), min(b, edges[k+1])
		part := float32((to - from) / (edges[k+1] - edges[k]))
		share[k] = (l.survive[k]-l.survive[k+1])*part + 1e-9*part
		sum += share[k]
	}
	for k := first; k <= last; k++ {
		from, to := max(a, edges[k]), min(b, edges[k+1])
		s := share[k] / sum
		l.closed[k] += s
		l.beyond[k] += s * float32((from+to)/2-edges[k])
	}
}

func (l *lifetimes) start(now int64) { l.ages.now = now }

// open counts a live flow; one of unknown start is known to be no younger than its first sight.
func (l *lifetimes) open(opened collector.Interval) {
	if opened.From == 0 {
		l.ages.addUnknown(second(opened.To))
		return
	}
	l.ages.add(second(middle(opened)))
}

// drop forgets a live flow that open counted.
func (l *lifetimes) drop(opened collector.Interval) {
	if opened.From == 0 {
		l.ages.removeUnknown(second(opened.To))
		return
	}
	l.ages.remove(second(middle(opened)))
}

// close counts a flow's end. A flow of unknown start leaves without a lifetime.
func (l *lifetimes) close(opened, ended collector.Interval, edges *ageEdges) {
	l.drop(opened)
	if opened.From != 0 {
		l.end(ended.From.Sub(opened.To), ended.To.Sub(opened.From), edges)
	}
}

// middle is the middle of an interval.
func middle(i collector.Interval) collector.Time { return i.From + (i.To-i.From)/2 }
