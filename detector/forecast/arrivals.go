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

// window sums the newest blocks of level j that start no longer ago than allowed, and returns the sum and the seconds
// they cover up to now. It reads the blocks as of the last advance, as do the methods below.
func (a *arrivals) window(j, blocks int, now float64) (n, seconds float64) {
	last := a.now >> j
	first := max(last-int64(blocks)+1, a.since>>j)
	for b := first; b <= last; b++ {
		n += float64(a.blocks[j][b&(arrivalBlocks-1)])
	}
	return n, max(now-float64(max(first<<j, a.since)), 1e-3)
}

// Arrivals that a window needs, and how many standard deviations its interval spans either side.
const (
	windowArrivals = 12
	windowSpan     = 3
)

// level returns the arrival rate now. It averages for as long as the rate was level: windows double while their
// intervals still have a common point (Lepski). phi is the dispersion, at least 1.
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
			// So few tell only how many there are not.
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

// slope returns the trend of the arrival rate: its level now, its change per second, and the seconds over which it was
// seen. The change is zero unless it is significant, and drawn towards zero the less it is. No line is shorter than
// the blocks of level finest.
func (a *arrivals) slope(now, phi float64, finest int) (level, slope, seen float64) {
	const proof = 3 // standard errors: lines are tried every second, over many windows
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

// line fits a line to the blocks of level j by least squares, each weighing as many seconds
// as it covers: its value now, its slope, and their standard errors for arrivals
// whose counts vary by noise per second.
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

// fewSeconds counts events of a few seconds from first on, in 16 bytes.
type fewSeconds struct {
	first  int64
	counts [8]uint8
}

// past reports whether second at is past those counted: take them, and count from there.
func (f *fewSeconds) past(at int64) bool { return at-f.first >= int64(len(f.counts)) }

// add counts one event in second at; if that is past, it counts from there. false means that the event is not counted:
// its second came before, or its count is full.
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

// count returns how many arrivals fell between seconds from and to: of the finest blocks that reach back there, spread
// evenly over each.
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

// take takes back the newest n arrivals, of the last seconds at most; it returns how many there were.
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
