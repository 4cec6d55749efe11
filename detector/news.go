package detector

import "github.com/snatwatch/snatwatch/collector"

// newsMax is how many flows' opens and ends wait for a forecast.
const newsMax = 12

// news is what the ledger told of a port space since its forecast last took note. A flow that opens or ends
// changes half a dozen places in the 11 KB of a forecast, each a cache miss; a dozen of them together
// find most of these in the cache.
type news struct {
	count int
	items [newsMax]newsItem
}

// newsItem is one flow's open or, where it has an end, its end: what open and close of an outlook take.
type newsItem struct {
	opened, ended collector.Interval
	release       collector.Time
	closed        bool
	reason        collector.Reason
}

// tell is open, or close, before the next tick at the latest.
func (o *outlook) tell(n newsItem) {
	if o.news.count == newsMax {
		o.takeNote()
	}
	o.news.items[o.news.count] = n
	o.news.count++
}

// takeNote brings o up to date with what it was told. Who does anything else with an
// outlook has it take note first.
func (o *outlook) takeNote() {
	for i := range o.news.items[:o.news.count] {
		if n := &o.news.items[i]; n.closed {
			o.close(n.opened, n.ended, n.release, n.reason)
		} else {
			o.open(n.opened)
		}
	}
	o.news.count = 0
}

// ahead reads where the next of the news goes, so that it is in the cache.
func (o *outlook) ahead() int64 {
	if o == nil {
		return 0
	}
	return int64(o.news.items[min(o.news.count, newsMax-1)].release)
}
