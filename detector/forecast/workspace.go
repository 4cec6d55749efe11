package forecast

import (
	"math"

	"github.com/snatwatch/snatwatch/detector"
)

// aheads is the number of times ahead that a forecast is computed for; the four horizons are among them.
const aheads = 13

func aheadGrid() [aheads]float64 {
	return [aheads]float64{5, 10, 15, 30, 60, 120, 180, 240, 300, 480, 900, 1800, 3600}
}

// horizonAt returns the places of the four horizons in the grid.
func horizonAt() [detector.NumHorizons]int { return [detector.NumHorizons]int{4, 8, 10, 12} }

// course is the forecast at each time ahead, and the steps to it.
type course struct {
	// base is how many of the ports held now will be held then, variance the variance of that. gain is how many ports an
	// arrival rate of 1 per second adds until then, double how many a rate adds that grows by 1 per second each second.
	base, variance, gain, double [aheads]float64
	// proven is the share of the arrival rate that gain and double have: what chance does not explain.
	proven float64
	mean   [components][aheads]float64
	mix    [aheads]float64
	// burst is the variance that bursts to come have at each time ahead. peak is the highest fill that the rhythm leads to
	// between the time before and this one, peakBurst the variance of peak that bursts cause.
	burst, peak, peakBurst [aheads]float64
}

// workspace is room for one tick, shared by all outlooks of a forecaster.
type workspace struct {
	edges   *ageEdges
	grid    [aheads]float64
	horizon [detector.NumHorizons]int
	taus    [numSpeeds]float64
	bins    tailEdges
	doubt   [detector.NumHorizons]float64
	worth   [detector.NumHorizons]float64
	crowd   crowd
	seen    exposure
	curve   curve
	share   [coolClasses]float64
	bursts  []expected // of the next hour, the nearest first
	// knowsDay: the course of the day is known.
	knowsDay bool
	perFlow  float64 // ports held per flow
	hangs    float64 // share of flows that hang now, 0 if none do beyond what is usual
	hangsBy  float64 // standard deviation of hangs
	// unseen are ports that the ledger does not know of, by time ahead.
	unseen [aheads]float64
	lost   float64 // flows that ended in this tick beyond all expectation
	ended  float64 // all flows that ended in this tick and were not young
	course course
	weight [detector.NumHorizons][components]float64
	above  [tailBins + 1]float64
}

// expected is a burst of arrivals to come.
type expected struct {
	at               float64 // seconds ahead
	excess, variance float64 // arrivals beyond the level
}

// burstsMost is how many bursts of the next hour a forecast uses, the nearest first.
const burstsMost = 32

// coolClasses is how many distinct cool-downs a budget may have. If it has more, the last ones share a class.
const coolClasses = 4

// deviation returns the standard deviation of the fill at place i of the grid for component k. Its variance is the
// variance of the ports held now, plus the variance of a Poisson number of arrivals, and more.
func (c *course) deviation(k, i int, more float64) float64 {
	if k == recurring {
		return math.Sqrt(c.variance[i] + max(0, c.peak[i]-c.base[i]) + 1 + more + c.peakBurst[i])
	}
	return math.Sqrt(c.variance[i] + max(0, c.mean[k][i]-c.base[i]) + 1 + more)
}

// expectsBurst reports whether a burst begins within the next u seconds.
func (w *workspace) expectsBurst(u float64) bool { return len(w.bursts) > 0 && w.bursts[0].at < u }
