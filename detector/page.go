package detector

import "time"

// The page that is shipped: it is raised when the probability of exhaustion within PageHorizon is PageRaise or
// more, and it clears when that has been below PageClear for PageKeep. The rules say so to Prometheus and the backtest
// measures it: both read these numbers.
//
// A load that stands near its ceiling comes near it again and again. PageKeep makes one page of that in place of one for
// each time: within a quarter of an hour the next is no news.
const (
	PageRaise   = 0.2
	PageClear   = 0.15
	PageHorizon = 5 * time.Minute
	PageKeep    = 15 * time.Minute
	// PageEvery is how often the backtest asks: a usual interval of scraping and of evaluation.
	PageEvery = 15 * time.Second
)
