package detector

import (
	"math"
	"time"
)

// The page that is shipped: it is raised when the probability of exhaustion within PageHorizon is PageRaise or
// more, and it clears when that has been below PageClear for PageKeep. While ports are scarce in the fullest port
// space, it has to be so for PageScarceKeep: a load that stays near the ceiling is one page, and relief ends it. The
// rules say so to Prometheus and the backtest measures it: both read these numbers. Raised at 0.3, the page is
// false nearly twice as often: internal/backtest/README.md.
const (
	PageRaise      = 0.5
	PageClear      = 0.1
	PageHorizon    = 5 * time.Minute
	PageKeep       = 2 * time.Minute
	PageScarceKeep = 30 * time.Minute
	// PageEvery is how often the backtest asks: a usual interval of scraping and of evaluation.
	PageEvery = 15 * time.Second
)

// Ports are scarce where PageFill of the effective ceiling or more is held, or all but PageNear times its square root:
// by so many standard deviations chance alone can fill a small budget.
const (
	PageFill = 0.85
	PageNear = 3
)

// PageScarce reports whether ports are scarce in a port space that holds so many of its effective ceiling, which is
// above 0. It is written as the rules write it: another form rounds otherwise, and 54 of 81 ports are scarce by one.
func PageScarce(held, ceiling float64) bool {
	return held/ceiling >= 1-max(PageNear/math.Sqrt(ceiling), 1-PageFill)
}
