package detector

import (
	"math"
	"time"
)

// The page that is shipped: it is raised when its urgency (PageUrgency) is PageRaise or more, and it clears when the
// probability of exhaustion within PageHorizon has been below PageClear for PageKeep. While ports are scarce in the
// fullest port space, it has to be so for PageScarceKeep: a load that stays near the ceiling is one page, and relief
// ends it. The rules say so to Prometheus and the backtest measures it: both read these numbers, which are chosen on
// seeds from 1200 on (internal/backtest/README.md).
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

// The urgency of a page is PageTold times the probability of exhaustion within PageHorizon where all but PageClose
// times the square root of the effective ceiling is held. Farther from the ceiling there is time to look again: the
// probability within a minute weighs as much there. But lifetimes that surely grew by a factor do not fall back within
// seconds: the urgency is PageSlower times the probability within PageHorizon or more then, less surely so over a
// cool-down. It rises from 0 to 1 in PageRise of the cool-down or more slowly, so that a batch of some seconds is over
// before it raises a page: the longer ports cool down, the more time there is.
const (
	PageTold   = 1.1
	PageSlower = 0.8
	PageClose  = 2
	PageRise   = 1.0 / 6
)

// PageNow is what the urgency of a page depends on.
type PageNow struct {
	// Soon and Within are the probabilities of exhaustion within a minute and within PageHorizon.
	Soon, Within float64
	// Held ports, of the effective ceiling.
	Held, Ceiling float64
	// Slower is how sure it is that lifetimes grew by a factor since a cool-down ago, from 0 to 1.
	Slower float64
	// Passed since the urgency before; CoolDown is the longest of the port space.
	Passed, CoolDown time.Duration
}

// PageUrgency returns the urgency of a page, from 0 to 1, that was before a moment ago.
func PageUrgency(before float64, now PageNow) float64 {
	if now.Soon == 1 {
		return 1 // it is exhausted, or opens fail
	}
	told := now.Within
	if now.Ceiling-now.Held > PageClose*math.Sqrt(now.Ceiling) {
		told = (now.Soon + now.Within) / 2
	}
	urgency := PageTold * told
	urgency += now.Slower * max(0, PageSlower*now.Within-urgency)
	if now.CoolDown > 0 {
		urgency = min(urgency, before+now.Passed.Seconds()/(PageRise*now.CoolDown.Seconds())+now.Slower)
	}
	return min(urgency, 1)
}
