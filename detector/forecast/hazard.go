package forecast

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Lifetimes are counted in ageBuckets buckets: below 1 ms, then two per octave, the
// last one open (above 4.66 h).
const ageBuckets = 50

// ageBucket returns the bucket of a lifetime in seconds.
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

// ageEdge returns the lower edge of bucket k in seconds.
func ageEdge(k int) float64 {
	if k == 0 {
		return 0
	}
	return 1e-3 * math.Exp2(float64(k-1)/2)
}

// ageEdges are the lower edges of all buckets, and an end of the last bucket.
type ageEdges [ageBuckets + 1]float64

func newAgeEdges() *ageEdges {
	var e ageEdges
	for k := range e {
		e[k] = ageEdge(k)
	}
	return &e
}

// occurrence counts, by age, ends of flows and the seconds that flows lived; their quotient is the hazard. A flow that
// ends lived half of the bucket that it ends in, as in a life table. Live flows give seconds without an end (they are
// right-censored); flows older than the agent give seconds only from when it first saw them (they are left-truncated).
type occurrence struct {
	ended, lived [ageBuckets]float32
}

// tiny keeps sums that fade from becoming denormal numbers, with which processors are slow.
const tiny = 1e-30

// learn keeps the share keep of what was counted and adds what one tick saw.
func (o *occurrence) learn(keep float64, seen *exposure) { o.relearn(&surprise{}, keep, seen) }

// relearn does what learn does, but at ages with a surprise it keeps less, as if more time had passed.
func (o *occurrence) relearn(s *surprise, keep float64, seen *exposure) {
	for g, x := range s {
		k32 := float32(keep)
		if x > 0 {
			k32 = float32(math.Pow(keep, 1+x))
		}
		for k := g * ageGroup; k < min((g+1)*ageGroup, ageBuckets); k++ {
			o.ended[k] = o.ended[k]*k32 + seen.ended[k] + tiny
			o.lived[k] = o.lived[k]*k32 + seen.lived[k] + tiny
		}
	}
}

// exposure is what one tick adds: ends by age, and seconds lived at that age.
type exposure occurrence

// lifetimes holds the live flows of a port space or a budget, and the ends since
// the last tick.
type lifetimes struct {
	ages ageWheel
	// ended is the flows that ended since the last tick, by bucket of their lifetime.
	ended [ageBuckets]float32
	// lived is the overlap of the live flows with each bucket at the last tick.
	lived [ageBuckets]float32
	// survive is the share that outlives each lower edge, at the last tick.
	survive [ageBuckets + 1]float32
	// late is where in each bucket flows end on average: how far beyond its middle, in widths of the bucket.
	late [ageBuckets]float32
	// foretold is how many ends were expected in each group of ages since the last open or end.
	foretold [ageGroups]float32
}

// end counts a flow that lived from lo to hi seconds; the two are equal unless dumps bound the lifetime. A bounded
// lifetime is spread over its interval by the hazards known so far, so that a short flow between slow dumps does not
// count as a long one.
func (l *lifetimes) end(lo, hi time.Duration, edges *ageEdges) {
	lo, hi = max(lo, 0), max(hi, 0)
	if hi-lo <= time.Millisecond || hi-lo <= hi/8 {
		s := (lo + hi).Seconds() / 2
		k := ageBucket(s)
		l.ended[k]++
		l.place(k, s, edges)
		return
	}
	a, b := lo.Seconds(), hi.Seconds()
	first, last := ageBucket(a), ageBucket(b)
	if first == last {
		l.ended[first]++
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
		l.ended[k] += share[k] / sum
	}
}

// lateMemory is how many ends the mean place within a bucket reaches back.
const lateMemory = 32

// place takes in where in its bucket k a lifetime of s seconds lies.
func (l *lifetimes) place(k int, s float64, edges *ageEdges) {
	at := (s-edges[k])/(edges[k+1]-edges[k]) - 0.5
	l.late[k] += (float32(min(at, 0.5)) - l.late[k]) / lateMemory
}

func (l *lifetimes) start(now int64) { l.ages.now = now }

// open counts a live flow. If nobody knows when a flow opened, it is at least as old as the first event of it.
func (l *lifetimes) open(opened collector.Interval) {
	if opened.From == 0 {
		l.ages.addUnknown(Second(opened.To))
		return
	}
	l.ages.add(Second(middle(opened)))
}

// drop forgets a live flow that open counted.
func (l *lifetimes) drop(opened collector.Interval) {
	if opened.From == 0 {
		l.ages.removeUnknown(Second(opened.To))
		return
	}
	l.ages.remove(Second(middle(opened)))
}

// close counts a flow's end. A flow of unknown start leaves without a lifetime.
func (l *lifetimes) close(opened, ended collector.Interval, edges *ageEdges) {
	l.drop(opened)
	if opened.From == 0 {
		l.ages.left++
	} else {
		l.end(ended.From.Sub(opened.To), ended.To.Sub(opened.From), edges)
	}
}

// middle returns the middle of an interval.
func middle(i collector.Interval) collector.Time { return i.From + (i.To-i.From)/2 }

// crowd is the live flows collapsed to buckets of age.
type crowd struct {
	n   [ageBuckets]float64 // flows
	age [ageBuckets]float64 // their mean age in seconds
}

// collapse sums the live flows of known age by bucket, and the seconds that they have lived in each bucket. Flows
// younger than a second have lived in none yet: most of them end before the next tick, and their ends count in full.
func (l *lifetimes) collapse(now float64, edges *ageEdges, c *crowd, overlap *[ageBuckets]float64) {
	*c = crowd{}
	*overlap = [ageBuckets]float64{}
	old := [ageBuckets]float64{}
	add := func(start float64, width float64, n uint32) {
		age := max(now-start-width/2, 1e-3)
		k := ageBucket(age)
		m := float64(n)
		c.n[k] += m
		c.age[k] += m * age
		if now-start-width >= 0.999 {
			old[k] += m
			overlap[k] += m * (age - edges[k])
		}
	}
	w := &l.ages
	left := uint32(w.live - w.ancient)
	for j := 0; j < ageLevels && left > 0; j++ {
		for s, n := range w.cells[j] {
			if n > 0 {
				add(float64(w.cellStart(j, s)), float64(int64(1)<<j), n)
				left -= n
			}
		}
	}
	if w.ancient > 0 {
		add(float64(w.now-ageSlots<<(ageLevels-1)), 0, uint32(w.ancient))
	}
	above := 0.0
	for k := ageBuckets - 1; k >= 0; k-- {
		overlap[k] += above * (edges[k+1] - edges[k])
		above += old[k]
		if c.n[k] > 0 {
			c.age[k] /= c.n[k]
		}
	}
}

// adopt takes the live flows as they are now: the seconds that they lived before do not count.
func (l *lifetimes) adopt(now float64, edges *ageEdges, c *crowd) {
	var overlap [ageBuckets]float64
	l.collapse(now, edges, c, &overlap)
	for k, v := range overlap {
		l.lived[k] = float32(v)
	}
}

// expose collapses the live flows into c, and puts the ends and the seconds lived since the last tick into seen.
func (l *lifetimes) expose(now float64, edges *ageEdges, c *crowd, seen *exposure) {
	var overlap [ageBuckets]float64
	l.collapse(now, edges, c, &overlap)
	after := 0.0
	for k := ageBuckets - 1; k >= 0; k-- {
		n := float64(l.ended[k])
		lived := (n/2+after)*(edges[k+1]-edges[k]) + overlap[k] - float64(l.lived[k])
		after += n
		seen.ended[k] = l.ended[k]
		seen.lived[k] = float32(max(0, lived))
		l.lived[k] = float32(overlap[k])
		l.ended[k] = 0
	}
}

// rates are hazards per second, by bucket.
type rates [ageBuckets]float64

// vague returns the hazards that are assumed before any flow was seen: one over the age, so that a flow that has lived
// for a while lives about as long again.
func (e *ageEdges) vague(k int) float64 { return 2 / (e[k] + e[k+1]) }

// shrink puts into h the hazards of o, drawn towards the hazards of parent: parent weighs as much as one end of a flow.
func (o *occurrence) shrink(parent, h *rates) {
	for k := range h {
		h[k] = (float64(o.ended[k]) + 1) / (float64(o.lived[k]) + 1/parent[k])
	}
}

// The three speeds of forgetting, fastest first.
const (
	fast = iota
	minute
	hour
	numSpeeds
)

// hazardTaus are their time constants in seconds.
func hazardTaus() [numSpeeds]float64 { return [numSpeeds]float64{8, 60, 3600} }

// Ages are tested for a change of their hazards in groups of ageGroup buckets, three octaves.
const (
	ageGroup  = 6
	ageGroups = (ageBuckets + ageGroup - 1) / ageGroup
)

// surprise says how much faster than usual each group of ages is forgotten: 0 if chance explains its ends, the more the
// less chance does.
type surprise [ageGroups]float64

// keep keeps share of what was learned.
func (o *occurrence) keep(share float64) {
	for k := range o.ended {
		o.ended[k] = max(0, o.ended[k]*float32(share))
		o.lived[k] = max(0, o.lived[k]*float32(share))
	}
}

// curve is the survival function of a lifetime, linear within each half of a bucket.
type curve struct {
	edges *ageEdges
	h     rates
	// late is by how much of a bucket's width the mean end in it lies beyond its middle; fit reads it.
	late *[ageBuckets]float32
	// At each edge of the halves: the share that survives, and its integral, and the integral's integral.
	survive, integral, double [2*ageBuckets + 1]float64
	// halves is how many halves of each bucket pass in a second.
	halves [ageBuckets]float64
	// beyond is the hazard within the last bucket, which is open.
	beyond float64
}

// start makes the curve fit for edges.
func (c *curve) start(edges *ageEdges) {
	c.edges = edges
	for k := range c.halves {
		c.halves[k] = 2 / (edges[k+1] - edges[k])
	}
}

// fit makes the curve from the hazards c.h. As in a life table, the share that outlives a bucket depends on how many
// flows ended in it. c.late says how these ends divide into the two halves of the bucket: if all flows live equally
// long, the curve falls within one half.
func (c *curve) fit() {
	c.survive[0], c.integral[0], c.double[0] = 1, 0, 0
	for k := range c.h {
		w := (c.edges[k+1] - c.edges[k]) / 2
		half := min(c.h[k]*w, 0.999)
		a := c.survive[2*k]
		z := a * (1 - half) / (1 + half)
		m := a - (a-z)*(0.5-min(max(2*float64(c.late[k]), -0.5), 0.5))
		c.survive[2*k+1], c.survive[2*k+2] = m, z
		i, d := c.integral[2*k], c.double[2*k]
		c.double[2*k+1] = d + w*(i+w*(2*a+m)/6)
		c.integral[2*k+1] = i + w*(a+m)/2
		i, d = c.integral[2*k+1], c.double[2*k+1]
		c.double[2*k+2] = d + w*(i+w*(2*m+z)/6)
		c.integral[2*k+2] = i + w*(m+z)/2
	}
	c.beyond = c.h[ageBuckets-1]
}

// at returns the share that survives age x.
func (c *curve) at(x float64) float64 {
	k := ageBucket(x)
	if k == ageBuckets-1 {
		return c.survive[2*k] * math.Exp(-c.beyond*(x-c.edges[k]))
	}
	j, y := 2*k, (x-c.edges[k])*c.halves[k]
	if y >= 1 {
		j, y = j+1, y-1
	}
	return c.survive[j] + (c.survive[j+1]-c.survive[j])*y
}

// mean returns the integral of the survival function up to x, and the integral of that.
func (c *curve) mean(x float64) (integral, double float64) {
	if x <= 0 {
		return 0, 0
	}
	k := ageBucket(x)
	if k == ageBuckets-1 {
		t, s := x-c.edges[k], c.survive[2*k]
		i := s * (1 - math.Exp(-c.beyond*t)) / c.beyond
		return c.integral[2*k] + i, c.double[2*k] + c.integral[2*k]*t + (s*t-i)/c.beyond
	}
	j, y := 2*k, (x-c.edges[k])*c.halves[k]
	if y >= 1 {
		j, y = j+1, y-1
	}
	w, a, d := y/c.halves[k], c.survive[j], (c.survive[j+1]-c.survive[j])*y
	return c.integral[j] + w*(a+d/2), c.double[j] + w*(c.integral[j]+w*(3*a+d)/6)
}

// spreadBy makes c the curve that spreads bounded lifetimes.
func (l *lifetimes) spreadBy(c *curve) {
	for k := range l.survive {
		l.survive[k] = float32(c.survive[2*k])
	}
}

const (
	// foundFor is for how many seconds flows that were found open bound how long others live, foundLeast how many of
	// them must have ended.
	foundFor, foundLeast = 300, 10
)

// bound raises hazards of c at ages that no flow has reached since the start, so that flows live no longer on average
// than the flows that were found open tell: their number divided by how many of them end in a second. That is too long
// where the load had just grown, and never shorter than the time since.
func (l *lifetimes) bound(c *curve, now float64) {
	a := &l.ages
	if a.left < foundLeast || a.unknown == 0 {
		return
	}
	age := now - float64(a.early)/float64(a.unknown)
	if age <= 0 || age > foundFor {
		return
	}
	mean := (float64(a.unknown) + float64(a.left)) / float64(a.left) * age
	lived, _ := c.mean(age)
	least := c.at(age) / max(mean-lived, mean/10)
	raised := false
	for k := ageBucket(age); k < ageBuckets; k++ {
		if c.h[k] < least {
			c.h[k], raised = least, true
		}
	}
	if raised {
		c.fit()
	}
}
