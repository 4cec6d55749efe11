package forecast

// The components of a forecast: hypotheses about the arrivals to come.
const (
	revert    = iota // the rate returns to its long mean
	trend            // the rate keeps its trend
	drift            // the error of the last seconds goes on for a while
	level            // the fill returns to its long mean
	recent           // the mean rate of as long ago as is looked ahead stays
	stay             // the fill stays, beyond a minute without its chance
	recurring        // what recurs every hour comes again
	day              // the rate changes as it did at this time of day
	components
)

// planning is the number of the last horizon that pages, 5 minutes. The horizons above it are for planning.
const planning = 1

// Part is a part of the forecast that can be left out, so that an ablation shows what it
// is worth. Parts combine by or.
type Part uint

// The parts.
const (
	// PartAges: live flows leave by their age; without it all leave like new ones.
	PartAges Part = 1 << iota
	// PartRelease: a cooling port is released on its second; without it cooling ports
	// leave at a constant rate.
	PartRelease
	// PartSpeeds: faster memories of hazards where a test says that lifetimes changed;
	// without it one memory of an hour.
	PartSpeeds
	// PartGate: that test; without it the memory of a minute is always used.
	PartGate
	// PartNowcast: the window of arrivals is as long as the rate was level; without it, a minute.
	PartNowcast
	// PartTrend and PartDrift are the components of those names; PartMeans are all components that use a long mean.
	PartTrend
	PartDrift
	PartMeans
	// PartTail: the learned tail of the residual; without it a normal one.
	PartTail
	// PartCalibration: the probability's own recalibration.
	PartCalibration
	// PartPool: the growth of the pool across the edge of a table.
	PartPool
	// PartRhythm: what recurs every hour. PartDay: the course of the day.
	PartRhythm
	PartDay
	// PartSurprise: if ends are too few or too many for chance, hazards are learnt anew at once, and components that
	// ignore lifetimes weigh nothing for a while.
	PartSurprise
	// PartSettle: the fill of brief holds is averaged before the forecast lets it stay.
	PartSettle
)

// leaves reports whether an ablation that leaves out p leaves out component k.
func (p Part) leaves(k int) bool {
	switch k {
	case trend:
		return p&PartTrend != 0
	case drift:
		return p&PartDrift != 0
	case level:
		return p&PartMeans != 0
	case recurring:
		return p&PartRhythm != 0
	case day:
		return p&PartDay != 0
	}
	return false
}
