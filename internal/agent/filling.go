package agent

import (
	"fmt"
	"math"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// fillingLooks is how many looks at a stock its pace is taken from, fillingLeast the fewest: two minutes and half a one
// of the conntrack table, six and one and a half of EC2's allowance.
const (
	fillingLooks = 24
	fillingLeast = 6
	// fillingAhead is how far ahead a stock is forecast, in seconds.
	fillingAhead = 3600
)

// filling forecasts when a stock reaches its limit, from the pace at which it grows. The zero value is ready.
type filling struct {
	at    []collector.Time
	stock []float64
}

// look takes in how large the stock is now.
func (f *filling) look(now collector.Time, stock float64) {
	f.at, f.stock = append(f.at, now), append(f.stock, stock)
	if len(f.at) > fillingLooks {
		f.at, f.stock = f.at[1:], f.stock[1:]
	}
}

// reaches returns in how many seconds the stock is at limit: 0 if it is now, +Inf if not within fillingAhead at this
// pace. ok is false while too little is known.
func (f *filling) reaches(limit float64) (seconds float64, ok bool) {
	n := len(f.at)
	if n == 0 {
		return 0, false
	}
	last := f.stock[n-1]
	switch {
	case last >= limit:
		return 0, true
	case n < fillingLeast:
		return 0, false
	}
	// A straight line through the looks, by least squares.
	var times, mean float64
	for i := range f.at {
		times += f.at[i].Sub(f.at[0]).Seconds() / float64(n)
		mean += f.stock[i] / float64(n)
	}
	var together, alone float64
	for i := range f.at {
		t := f.at[i].Sub(f.at[0]).Seconds() - times
		together += t * (f.stock[i] - mean)
		alone += t * t
	}
	pace := together / alone
	if seconds = (limit - last) / pace; !(pace > 0) || seconds > fillingAhead {
		return math.Inf(1), true
	}
	return seconds, true
}

// The conntrack table is named in a notice from detector.TableNear of its limit on, or if it is full within
// detector.TableSoon and holds tableHalf of its limit already; the notice goes below tableClear, so that it does not
// come and go.
const tableClear, tableHalf = 0.8, 0.4

// tableText says how full the conntrack table is and when it will be; empty if there is room. said is what it returned
// last.
func tableText(k *metrics.Kernel, said string) string {
	if k == nil || k.EntriesMax == 0 {
		return ""
	}
	fill := float64(k.Entries) / float64(k.EntriesMax)
	soon := k.Forecast && k.SecondsToFull < detector.TableSoon.Seconds()
	if fill < tableClear && !(soon && fill >= tableHalf) || said == "" && fill < detector.TableNear && !soon {
		return ""
	}
	text := fmt.Sprintf("the conntrack table of network namespace %d holds %.0f %% of its %d entries", k.Netns,
		100*math.Floor(20*fill)/20, k.EntriesMax)
	switch {
	case k.Forecast && k.SecondsToFull == 0:
		text += ": it is full"
	case soon:
		text += fmt.Sprintf(": at the pace of the last minutes it is full within %d minutes", soonMinutes(k.SecondsToFull))
	}
	return text + "; once it is full the kernel drops new connections of any kind, scrapes of this agent among them: " +
		"raise net.netfilter.nf_conntrack_max in the initial network namespace"
}

// soonMinutes rounds seconds, less than detector.TableSoon, up to minutes in few steps: each change of a notice is
// logged.
func soonMinutes(seconds float64) int {
	within := int(detector.TableSoon / time.Minute)
	for _, minutes := range [...]int{5, 2} {
		if seconds < float64(60*minutes) {
			within = minutes
		}
	}
	return within
}
