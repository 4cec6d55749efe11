package detector

import "time"

// The page that is shipped: it is raised when the probability of exhaustion within PageHorizon is PageRaise or
// more, and it clears when that has been below PageClear for PageKeep. The rules say so to Prometheus and the backtest
// measures it: both read these numbers.
const (
	PageRaise   = 0.2
	PageClear   = 0.15
	PageHorizon = 5 * time.Minute
	PageKeep    = 2 * time.Minute
	// PageEvery is how often the backtest asks: a usual interval of scraping and of evaluation.
	PageEvery = 15 * time.Second
)
