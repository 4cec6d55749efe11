package detector

import "time"

// The page that is shipped: it is raised when the probability of exhaustion within PageHorizon is PageRaise or
// more, and it clears when that has been below PageClear for PageKeep. While the fullest port space holds PageFill of
// its effective ceiling or more, it has to be so for PageFillKeep: a load that stays near the ceiling is one page, and
// relief ends it. The rules say so to Prometheus and the backtest measures it: both read these numbers.
const (
	PageRaise    = 0.3
	PageClear    = 0.15
	PageHorizon  = 5 * time.Minute
	PageKeep     = 2 * time.Minute
	PageFill     = 0.85
	PageFillKeep = 15 * time.Minute
	// PageEvery is how often the backtest asks: a usual interval of scraping and of evaluation.
	PageEvery = 15 * time.Second
)
