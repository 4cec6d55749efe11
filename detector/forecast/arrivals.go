package forecast

import "math"

// Arrivals are counted in arrivalLevels rings of arrivalBlocks blocks; a block of
// level j is an aligned span of 2^j seconds.
const (
	arrivalLevels = 9
	arrivalBlocks = 16
)

// arrivals counts opened flows by time: the recent past finely, the last hour coarsely.
type arrivals struct {
	since, now int64 // seconds: counted from since (inclusive) to now (exclusive)
	// fresh flows opened in second now, and are in no block yet.
	fresh  uint32
	blocks [arrivalLevels][arrivalBlocks]float32
}

// advance makes room for second now, and brings the blocks up to date.
func (a *arrivals) advance(now int64) {
	if a.fresh > 0 {
		for j := range a.blocks {
			a.blocks[j][a.now>>j&(arrivalBlocks-1)] += float32(a.fresh)
		}
		a.fresh = 0
	}
	for j := range a.blocks {
		last, next := a.now>>j, now>>j
		for b := max(last+1, next-arrivalBlocks+1); b <= next; b++ {
			a.blocks[j][b&(arrivalBlocks-1)] = 0
		}
	}
	a.now = max(a.now, now)
}

// add counts n flows that opened in second at, if that is not too long ago to matter.
func (a *arrivals) add(at int64, n uint32) {
	if at > a.now {
		a.advance(at)
	}
	if at < a.since {
		return
	}
	if at == a.now {
		a.fresh += n // most flows: nine blocks are nine cache misses
		return
	}
	for j := range a.blocks {
		if a.now>>j-at>>j < arrivalBlocks {
			a.blocks[j][at>>j&(arrivalBlocks-1)] += float32(n)
		}
	}
}

// window sums up to the given number of the newest blocks of level j, and returns the sum and how many seconds they
// cover up to now. Like the methods below it reads the blocks as of the last advance.
func (a *arrivals) window(j, blocks int, now float64) (n, seconds float64) {
	last := a.now >> j
	first := max(last-int64(blocks)+1, a.since>>j)
	for b := first; b <= last; b++ {
		n += float64(a.blocks[j][b&(arrivalBlocks-1)])
	}
	return n, max(now-float64(max(first<<j, a.since)), 1e-3)
}

// windowArrivals is how many arrivals a window needs for a rate of its own, windowSpan how many standard deviations the
// interval of its rate reaches to either side.
const (
	windowArrivals = 12
	windowSpan     = 3
)

// level returns the arrival rate now: the mean over the time in which it was level. Windows are doubled for as long as
// the intervals of their rates have a common point (Lepski's method). phi is the dispersion, at least 1.
func (a *arrivals) level(now, phi float64) float64 {
	rate := 0.0
	low, high := math.Inf(-1), math.Inf(1)
	before := 0.0
	for i := -2; i < arrivalLevels; i++ {
		j, blocks := max(i, 0), arrivalBlocks
		if i < 0 {
			blocks >>= -i
		}
		n, w := a.window(j, blocks, now)
		if w <= before {
			break
		}
		before = w
		r := n / w
		if n < windowArrivals {
			rate = r
			// So few arrivals bound the rate from above alone.
			few := windowSpan * windowSpan * phi / 2
			high = min(high, (n+few+windowSpan*math.Sqrt(phi*(n+few/2)))/w)
			continue
		}
		half := windowSpan * math.Sqrt(phi*n) / w
		low, high = max(low, r-half), min(high, r+half)
		if low > high {
			break
		}
		rate = r
	}
	return rate
}

// slope returns the trend of the arrival rate: its level now, its change per second, and for how many seconds the trend
// has been seen. The change is 0 unless it is significant; the less significant it is, the more it is drawn towards 0.
// No line is fitted to blocks of a level below finest.
func (a *arrivals) slope(now, phi float64, finest int) (level, slope, seen float64) {
	const proof = 3 // standard errors; so many, because lines are tried every second and over many windows
	lowL, highL := math.Inf(-1), math.Inf(1)
	lowS, highS := math.Inf(-1), math.Inf(1)
	z := 0.0
	before := 0.0
	for j := finest; j < arrivalLevels; j++ {
		n, w := a.window(j, arrivalBlocks, now)
		if w <= before {
			break
		}
		before = w
		if n < windowArrivals {
			continue
		}
		l, s, seL, seS, ok := a.line(j, now, phi*n/w)
		if !ok {
			continue
		}
		lowL, highL = max(lowL, l-windowSpan*seL), min(highL, l+windowSpan*seL)
		lowS, highS = max(lowS, s-windowSpan*seS), min(highS, s+windowSpan*seS)
		if lowL > highL || lowS > highS {
			break
		}
		level, slope, seen, z = l, s, w, math.Abs(s)/seS
	}
	if z <= proof {
		return level, 0, seen
	}
	return level, slope * (1 - proof*proof/(z*z)), seen
}

// line fits a line to the blocks of level j by least squares; a block weighs as many seconds as it covers. It returns
// the value of the line now, its slope, and their standard errors, if counts of arrivals have a variance of noise per
// second.
func (a *arrivals) line(j int, now, noise float64) (level, slope, seLevel, seSlope float64, ok bool) {
	last := a.now >> j
	first := max(last-arrivalBlocks+1, a.since>>j)
	var sw, sx, sxx, sy, sxy float64
	for b := first; b <= last; b++ {
		from, to := float64(max(b<<j, a.since)), min(float64((b+1)<<j), now)
		w := to - from
		if w <= 0 {
			continue
		}
		x := (from+to)/2 - now
		y := float64(a.blocks[j][b&(arrivalBlocks-1)])
		sw += w
		sx += w * x
		sxx += w * x * x
		sy += y
		sxy += y * x
	}
	det := sw*sxx - sx*sx
	if last-first < 4 || !(det > 1e-9*sw*sxx) {
		return 0, 0, 0, 0, false
	}
	slope = (sw*sxy - sx*sy) / det
	level = (sxx*sy - sx*sxy) / det
	return level, slope, math.Sqrt(noise * sxx / det), math.Sqrt(noise * sw / det), true
}

// fewSeconds counts events by second, for the few seconds that begin with first, in 16 bytes.
type fewSeconds struct {
	first  int64
	counts [8]uint8
}

// past reports whether second at lies beyond the seconds that p counts: then its counts must be taken, and counting
// starts with that second.
func (f *fewSeconds) past(at int64) bool { return at-f.first >= int64(len(f.counts)) }

// add counts one event in second at; counting starts there if that second is past. It returns false if it does not
// count the event: its second lies before those that are counted, or the count of its second is full.
func (f *fewSeconds) add(at int64) bool {
	if f.past(at) {
		f.first = at
	}
	d := uint64(at - f.first)
	if d >= uint64(len(f.counts)) || f.counts[d] == 1<<8-1 {
		return false
	}
	f.counts[d]++
	return true
}

// take returns the counts and sets them to 0.
func (f *fewSeconds) take() (counts [8]uint8) {
	counts, f.counts = f.counts, counts
	return counts
}

// count returns how many arrivals fell between seconds from and to. It takes the finest blocks that reach back so far,
// and spreads the arrivals of each evenly over it.
func (a *arrivals) count(from, to int64) (n float32) {
	for j := range a.blocks {
		last := a.now >> j
		if last-from>>j >= arrivalBlocks {
			continue
		}
		for b := from >> j; b <= (to-1)>>j && b <= last; b++ {
			part := min(to, (b+1)<<j, a.now+1) - max(from, b<<j)
			n += a.blocks[j][b&(arrivalBlocks-1)] * float32(part) / float32(min((b+1)<<j, a.now+1)-b<<j)
		}
		return n
	}
	return 0
}

// take takes the newest n arrivals out again, as far as they are of the last seconds; it returns how many it took.
func (a *arrivals) take(n uint32) (took uint32) {
	for at := a.now; at > a.now-arrivalBlocks && took < n; at-- {
		x := min(n-took, uint32(a.blocks[0][at&(arrivalBlocks-1)]))
		if x == 0 {
			continue
		}
		for j := range a.blocks {
			b := &a.blocks[j][at>>j&(arrivalBlocks-1)]
			*b = max(0, *b-float32(x))
		}
		took += x
	}
	return took
}

// lumps sums the arrivals of a port space by tick, but for the first tick, which may have all that a dump found. Flows
// may open many at once, so a tick with arrivals says little of the rate, however many they are; where dumps alone tell
// of flows, a tick is as long as it is from dump to dump.
type lumps struct {
	ticks, seconds float32
	opened         float32
	squares        float32 // of the arrivals of each tick, divided by its seconds
}

func (l *lumps) add(opened, seconds float64) {
	l.ticks++
	l.seconds += float32(seconds)
	l.opened += float32(opened)
	l.squares += float32(opened * opened / seconds)
}

// lumpsDoubt is how many ticks it weighs that all arrivals of a tick may be one lump.
const lumpsDoubt = 2

// doubt returns the standard deviation of the arrival rate as a share of the rate: by how much ticks differ, and while
// there are few, as if each tick were one lump. Before the first arrival it is 1.
func (l *lumps) doubt() float64 {
	if l.opened == 0 {
		return 1
	}
	n, t, ticks := float64(l.opened), float64(l.seconds), float64(l.ticks)
	differ := max(0, float64(l.squares)-n*n/t) // sum of squared differences from the rate, per second
	perSecond := (differ + lumpsDoubt*n*n/(t*ticks)) / (ticks + lumpsDoubt)
	return math.Sqrt(perSecond*t) / n
}
