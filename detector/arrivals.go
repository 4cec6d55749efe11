package detector

// Arrivals are counted in arrivalLevels rings of arrivalBlocks blocks; a block of
// level j is an aligned span of 2^j seconds.
const (
	arrivalLevels = 9
	arrivalBlocks = 16
)

// arrivals counts opened flows by time: the recent past finely, the last hour coarsely.
type arrivals struct {
	since, now int64 // seconds: counted from since (inclusive) to now (exclusive)
	blocks     [arrivalLevels][arrivalBlocks]float32
}

// advance makes room for second now.
func (a *arrivals) advance(now int64) {
	for j := range a.blocks {
		last, next := a.now>>j, now>>j
		for b := max(last+1, next-arrivalBlocks+1); b <= next; b++ {
			a.blocks[j][b&(arrivalBlocks-1)] = 0
		}
	}
	a.now = max(a.now, now)
}

// add counts a flow that opened in second at, if that is not too long ago to matter.
func (a *arrivals) add(at int64) {
	if at > a.now {
		a.advance(at)
	}
	if at < a.since {
		return
	}
	for j := range a.blocks {
		if a.now>>j-at>>j < arrivalBlocks {
			a.blocks[j][at>>j&(arrivalBlocks-1)]++
		}
	}
}
