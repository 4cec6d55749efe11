package forecast

import (
	"math/bits"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// An ageWheel has ageLevels levels of ageSlots cells; a cell of level j is an aligned span of 2^j seconds. The last
// level reaches back nine hours: beyond 4.66 h all ages fall into the last of the ageBuckets.
const (
	ageLevels = 10
	ageSlots  = 64
)

// ageWheel counts live flows by the second they opened, more coarsely the older
// they are: an age is known to one part in 64 whatever the number of flows.
type ageWheel struct {
	now  int64 // second the wheel stands at
	live int32 // flows in cells, ancient ones included
	// ancient counts flows that are older than the last level, unknown those that opened before the agent started, nobody
	// knows when.
	ancient, unknown int32
	// left is how many unknown flows ended, of as many as there are now: those that are met later make it less.
	left float32
	// early sums the seconds in which the unknown flows were first seen: an unknown flow is at least as old as that.
	early int64
	cells [ageLevels][ageSlots]uint32
}

// level returns the finest level that reaches back from now to start; ageLevels if none does.
func (w *ageWheel) level(start int64) int {
	if start >= w.now {
		return 0
	}
	j := max(0, bits.Len64(uint64(w.now-start))-6)
	if w.now>>j-start>>j >= ageSlots {
		j++
	}
	return min(j, ageLevels)
}

// advance moves the wheel to second now; cells that leave a level enter the next.
func (w *ageWheel) advance(now int64) {
	if w.live == w.ancient {
		w.now = max(w.now, now)
		return
	}
	for w.now < now {
		w.now++
		for j := 0; j < ageLevels && w.now&(1<<j-1) == 0; j++ {
			cell := w.now>>j - ageSlots
			from := &w.cells[j][cell&(ageSlots-1)]
			if *from == 0 {
				continue
			}
			if j+1 < ageLevels {
				w.cells[j+1][cell>>1&(ageSlots-1)] += *from
			} else {
				w.ancient += int32(*from)
			}
			*from = 0
		}
	}
}

// add counts a flow that opened in second start.
func (w *ageWheel) add(start int64) {
	w.advance(start)
	w.live++
	j := w.level(start)
	if j == ageLevels {
		w.ancient++
		return
	}
	w.cells[j][start>>j&(ageSlots-1)]++
}

// remove takes back what add(start) counted. If add was not called with that start, the flow nearest in age is taken
// out instead, so that the number of flows stays right.
func (w *ageWheel) remove(start int64) {
	w.advance(start)
	if w.live == 0 {
		return
	}
	w.live--
	j := w.level(start)
	if j < ageLevels {
		if c := &w.cells[j][start>>j&(ageSlots-1)]; *c > 0 {
			*c--
			return
		}
	} else if w.ancient > 0 {
		w.ancient--
		return
	}
	w.removeNear(start)
}

func (w *ageWheel) removeNear(start int64) {
	var best *uint32
	nearest := int64(1) << 62
	for j := range w.cells {
		for s := range w.cells[j] {
			if w.cells[j][s] == 0 {
				continue
			}
			d := w.cellStart(j, s) - start
			if d < 0 {
				d = -d
			}
			if d < nearest {
				nearest, best = d, &w.cells[j][s]
			}
		}
	}
	if best != nil {
		*best--
	} else if w.ancient > 0 {
		w.ancient--
	}
}

// cellStart returns the first second of the cell that slot s of level j holds now.
func (w *ageWheel) cellStart(j, s int) int64 {
	last := w.now >> j
	back := (last - int64(s)) & (ageSlots - 1)
	return (last - back) << j
}

// addUnknown counts a live flow of unknown age, first seen in second seen.
func (w *ageWheel) addUnknown(seen int64) {
	w.left *= float32(w.unknown) / float32(w.unknown+1)
	w.unknown++
	w.early += seen
}

func (w *ageWheel) removeUnknown(seen int64) {
	if w.unknown > 0 {
		w.unknown--
		w.early -= seen
	}
	if w.unknown == 0 {
		w.early = 0
	}
}

// count returns the number of live flows.
func (w *ageWheel) count() int { return int(w.live + w.unknown) }

// releaseSlots is the number of slots of a releaseWheel.
const releaseSlots = 256

// releaseWheel counts cooling ports by their release, which is known exactly.
type releaseWheel struct {
	width int64 // seconds a slot spans, so that the longest cool-down fits
	now   int64 // second the wheel stands at; what was due is gone
	total int32
	slots [releaseSlots]uint32
}

// newReleaseWheel fits cool-downs up to longest seconds.
func newReleaseWheel(now, longest int64) releaseWheel {
	return releaseWheel{width: max(1, (longest+releaseSlots-2)/(releaseSlots-1)), now: now}
}

// slot returns the slot of a release in second at, rounded up to the end of the slot and never beyond the wheel.
func (w *releaseWheel) slot(at int64) *uint32 {
	s := min((at+w.width-1)/w.width, w.now/w.width+releaseSlots-1)
	return &w.slots[s&(releaseSlots-1)]
}

func (w *releaseWheel) advance(now int64) {
	if w.total == 0 {
		w.now = max(w.now, now)
		return
	}
	for s := w.now/w.width + 1; s <= now/w.width && w.total > 0; s++ {
		c := &w.slots[s&(releaseSlots-1)]
		w.total -= int32(*c)
		*c = 0
	}
	w.now = max(w.now, now)
}

// add counts n ports that are released in second at. Ports that are due already are not held and not counted.
func (w *releaseWheel) add(at int64, n uint32) {
	if at <= w.now {
		return
	}
	*w.slot(at) += n
	w.total += int32(n)
}

// remove takes back one port that add counted in second at, unless it has been due since.
func (w *releaseWheel) remove(at int64) {
	if at <= w.now {
		return
	}
	if c := w.slot(at); *c > 0 {
		*c--
		w.total--
	}
}

// after puts into left how many ports will still be cooling at each of the rising seconds in at.
func (w *releaseWheel) after(at []int64, left []float64) {
	n := w.total
	s := w.now / w.width
	last := s + releaseSlots - 1
	for i, t := range at {
		for end := min(t/w.width, last); s < end; {
			s++
			n -= int32(w.slots[s&(releaseSlots-1)])
		}
		left[i] = float64(n)
	}
}

// Second returns the second that t lies in.
func Second(t collector.Time) int64 { return int64(t) / int64(time.Second) }

// releaseSecond returns the first whole second at which a port that is released at t is free.
func releaseSecond(t collector.Time) int64 {
	return (int64(t) + int64(time.Second) - 1) / int64(time.Second)
}
