package forecast

import (
	"math"
	"slices"
)

// What recurs is counted by the clock: bursts by the rhythmBin seconds of the hour, which suits
// whatever is scheduled every 5, 10, 15, 30 or 60 minutes, and the course of the day by its
// quarters of an hour. Both are UTC; zones are whole quarters of an hour apart.
const (
	rhythmBin   = 15
	hourBins    = 3600 / rhythmBin
	dayBin      = 900
	dayBins     = 86400 / dayBin
	hourMemory  = 4 // over how many hours the mean of a bin of the hour reaches at most
	dayMemory   = 5 // over how many days the mean of a bin of the day reaches at most
	levelMemory = 8 // over how many bins of the hour the level reaches
	// binMost is more flows than a machine opens in a bin; its square is within the bounds of a state.
	binMost = 1e7
)

// rhythm has the times at which flows of a port space open: what recurs every hour, and every day.
type rhythm struct {
	// start is the first second of the bin that is being counted; counts has the flows of that bin and of the three after
	// it.
	start  int64
	counts [4]uint32
	// partial says that not all flows of this bin were seen. first is the number of the first bin that was counted whole,
	// 0 before one was. Hours in which bins were missed move it on, as if counting had begun so much later.
	partial bool
	first   int64
	// level is the recent mean of bins without what recurs, noise the recent variance about it. off counts how many bins
	// in a row lay far above the level; it is negative if they lay far below.
	level, noise float32
	off          int32
	// missed is the share of expected bursts that did not come lately.
	missed float32
	hour   [hourBins]burst
	// day is the mean rate per second in each quarter of an hour, 0 where none was counted. quarter is the sum of the bins
	// that were counted in the present one, bins their number.
	day     [dayBins]float32
	quarter float32
	bins    int32
}

// burst is by how many flows a bin of the hour exceeds the level: the mean over the last hours, and the mean square.
type burst struct{ mean, square float32 }

// count counts n flows that opened in second at.
func (r *rhythm) count(at int64, n uint32) {
	if d := at - r.start; uint64(d) < rhythmBin {
		r.counts[0] += n
	} else if d > 0 && d < rhythmBin*int64(len(r.counts)) {
		r.counts[d/rhythmBin] += n
	}
}

// advance closes the bins that ended by now; all flows that opened until now are counted.
func (r *rhythm) advance(now int64) {
	bin := now / rhythmBin
	if bin-r.start/rhythmBin > int64(len(r.counts)) {
		r.skip(bin)
		return
	}
	for b := r.start / rhythmBin; b < bin; b++ {
		r.learn(b, min(float32(r.counts[0]), binMost))
		copy(r.counts[:], r.counts[1:])
		r.counts[len(r.counts)-1] = 0
		r.start += rhythmBin
	}
}

// skip goes on in the middle of bin, after a gap that began at start. The hours of the gap do not count: bins of the
// hour have been counted as often as before it.
func (r *rhythm) skip(bin int64) {
	if r.first != 0 {
		missed := bin + 1 - r.start/rhythmBin
		r.first += (missed + hourBins - 1) / hourBins * hourBins
	}
	r.start, r.counts, r.partial = bin*rhythmBin, [4]uint32{}, true
	r.off, r.quarter, r.bins = 0, 0, 0
}

// learn takes the number n of flows that opened in bin b.
func (r *rhythm) learn(b int64, n float32) {
	switch {
	case r.partial:
		r.partial = false
		return
	case r.first == 0:
		r.first, r.level, r.noise = b, n, n+1
	}
	k := &r.hour[b%hourBins]
	x := n - r.level
	rest := n
	if e, _ := r.recurring(b); e > 0 {
		came := min(max(x, 0), e)
		rest -= came
		r.missed += 0.3 * (1 - came/e - r.missed)
	}
	w := 1 / float32(min(r.hours(b), hourMemory-1)+1)
	k.mean += w * (x - k.mean)
	k.square += w * (x*x - k.square)

	// The level ignores a burst, but follows one that lasts.
	const far, lasting = 4, 3 // standard deviations, bins
	d, reach := rest-r.level, far*float32(math.Sqrt(float64(r.noise)))
	switch {
	case d > reach:
		r.off = max(r.off, 0) + 1
	case d < -reach:
		r.off = min(r.off, 0) - 1
	default:
		r.off = 0
	}
	if r.off >= lasting || r.off <= -lasting {
		r.level = max(rest, 0)
	} else {
		d = min(max(d, -reach), reach)
		r.level = max(r.level+d/levelMemory, 0)
		r.noise = max(r.noise+(d*d-r.noise)/(4*levelMemory), r.level+1)
	}

	r.quarter += n
	r.bins++
	if (b+1)*rhythmBin%dayBin == 0 {
		if r.bins == dayBin/rhythmBin {
			k := &r.day[b*rhythmBin/dayBin%dayBins]
			days := max(0, (b+1-r.first)*rhythmBin-dayBin) / 86400 // that it was counted before
			if *k == 0 {
				days = 0
			}
			w := 1 / float32(min(days, dayMemory-1)+1)
			*k += w * (max(r.quarter/dayBin, tiny) - *k)
		}
		r.quarter, r.bins = 0, 0
	}
}

// hours returns how often the bin of the hour of b was counted before.
func (r *rhythm) hours(b int64) int64 {
	if r.first == 0 || b < r.first {
		return 0
	}
	return (b - r.first) / hourBins
}

// burst returns by how many flows bin b is expected to exceed the level, and the variance of that. It returns 0 unless
// several hours agree, and while expected bursts do not come: their sender may have stopped, and the bursts of other
// bins show that sooner than the same bin an hour later.
func (r *rhythm) burst(b int64) (excess, variance float32) {
	if r.missed > 0.6 {
		return 0, 0
	}
	return r.recurring(b)
}

func (r *rhythm) recurring(b int64) (excess, variance float32) {
	n := float32(min(r.hours(b), hourMemory))
	if n < 2 {
		return 0, 0
	}
	k := &r.hour[b%hourBins]
	spread := max(0, k.square-k.mean*k.mean) * n / (n - 1)
	// The square of the mean must exceed so many of its variances: proof by chance, alike by what the hours differ.
	const proof, alike = 25, 2.5
	if k.mean*k.mean*n <= max(proof*r.noise, alike*spread) {
		return 0, 0
	}
	return k.mean, spread + k.mean*k.mean/(4*n*n)
}

// knowsDay reports whether every quarter of an hour of the day was counted.
func (r *rhythm) knowsDay(now float64) bool {
	return r.first != 0 && now-float64(r.first*rhythmBin) > 86400+2*dayBin && slices.Min(r.day[:]) > 0
}

// course returns the rate that the days so far had at the time of day of second t: on the line between the middles of
// two quarters of an hour, each of which is smoothed by its neighbours.
func (r *rhythm) course(t float64) float64 {
	x := t/dayBin - 0.5
	i := math.Floor(x)
	a, b := r.smooth(int64(i)), r.smooth(int64(i)+1)
	return a + (b-a)*(x-i)
}

func (r *rhythm) smooth(q int64) float64 {
	q += dayBins // so that it is not negative
	return float64(r.day[(q-1)%dayBins]+2*r.day[q%dayBins]+r.day[(q+1)%dayBins]) / 4
}

// take takes n flows out again that were counted in this bin.
func (r *rhythm) take(n uint32) { r.counts[0] -= min(n, r.counts[0]) }
