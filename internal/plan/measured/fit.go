package measured

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/remote"
	"github.com/snatwatch/snatwatch/internal/words"
)

// peak is one day's.
type peak struct {
	at   time.Time
	most float64
}

// fit finds the rate whose load explains the peaks, their spread, their length and whether they grow.
func (a *asker) fit(d *plan.Demand, points []remote.Point, hold float64, b *budget.Budget) {
	days := group(points, a.fleet.Now)
	d.Peak = lengthOf(points, days)
	ceiling := b.TCP.Effective
	var loads []float64
	for _, p := range days {
		// A log knows nothing of the ceiling: what it holds beyond was not cut off.
		if int(p.most) >= ceiling && (a.p != nil || p.most <= 1.05*float64(b.TCP.Ports)) {
			d.Cut = true
		}
		if p.most >= 1 {
			loads = append(loads, plan.LoadOfPeak(int(p.most), d.Peak.Seconds(), hold))
		}
	}
	mean, spread := meanAndSpread(loads)
	nodes := 1.0
	if a.shared {
		nodes = float64(max(1, len(a.nodes)))
	}
	d.Spread = min(2, spread)
	if len(loads) < 3 {
		d.Spread = momentSpread
		a.note("There are the peaks of %s only: a spread of 20 %% from day to day is taken, and days "+
			"that are worse were not seen.", words.Counted(len(loads), "day", "days"))
	}
	// The mean of n peaks is known to within twice spread/√n; less than 2 % nobody knows.
	off := max(0.02, 2*d.Spread/math.Sqrt(float64(max(1, len(loads)))))
	d.Rate = mean / hold / nodes
	d.Low, d.High = d.Rate*max(0.05, 1-off), d.Rate*(1+off)
	if d.Cut {
		a.beyond(d, hold, ceiling)
	}
	if doubling, n := growth(days); doubling > 0 {
		a.doubling = doubling
		a.note("The peaks of %d days grow: they double in %.0f days.", n, doubling.Hours()/24)
	}
}

// day is the unit of peaks.
const day = 24 * time.Hour

// group returns the most of each day before now.
func group(points []remote.Point, now time.Time) []peak {
	most := map[int]*peak{}
	last := 0
	for _, p := range points {
		i := int(now.Sub(p.At) / day)
		if i < 0 {
			i = 0
		}
		last = max(last, i)
		if q := most[i]; q == nil {
			most[i] = &peak{p.At, p.Value}
		} else if p.Value > q.most {
			*q = peak{p.At, p.Value}
		}
	}
	var out []peak
	for i := last; i >= 0; i-- {
		if q := most[i]; q != nil {
			out = append(out, *q)
		}
	}
	return out
}

// lengthOf is how long the held ports stay above nine tenths of the most of a day, in the median of days. Not under
// 5 min.
func lengthOf(points []remote.Point, days []peak) time.Duration {
	var lengths []time.Duration
	for _, x := range days {
		n := 0
		for _, p := range points {
			if p.At.Sub(x.at).Abs() <= day/2 && p.Value >= 0.9*x.most {
				n++
			}
		}
		lengths = append(lengths, time.Duration(n)*step)
	}
	slices.Sort(lengths)
	return min(max(lengths[len(lengths)/2], step), day)
}

// meanAndSpread are the mean and the relative standard deviation.
func meanAndSpread(x []float64) (mean, spread float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(max(1, len(x)))
	if len(x) < 2 || mean == 0 {
		return mean, 0
	}
	sum := 0.0
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(sum/float64(len(x)-1)) / mean
}

// beyond raises the high end of a demand that was cut off at the ceiling: to the load that fails as large a share
// of opens as failed in the worst quarter of an hour.
func (a *asker) beyond(d *plan.Demand, hold float64, ceiling int) {
	if a.p == nil {
		a.note("A log does not tell which opens failed: by how much the demand passed the ceiling is not known.")
		d.High = max(d.High, 2*d.Rate)
		return
	}
	// Of full quarters of an hour, and of the one until now, which is none.
	failed := fmt.Sprintf("sum by (instance) (rate(%s{%s,cause=\"ports\"}[15m])) / "+
		"(sum by (instance) (rate(%s{%s}[15m])) > 0)", metrics.OpenFailures, a.match, metrics.FlowsOpened, a.match)
	share, ok := a.one(a.fleet.Now, "max(max_over_time((%s)[%s:15m]))", failed, promRange(a.fleet.Range))
	last, known := a.one(a.fleet.Now, "max(%s)", failed)
	if share, ok = max(share, last), ok || known; !ok || share <= 0 {
		a.note("How many opens failed is not known, so neither is by how much the demand passed the ceiling.")
		d.High = max(d.High, 2*d.Rate)
		return
	}
	if load := plan.LoadOfBlocking(ceiling, min(share, 0.95)); load/hold > d.High {
		d.High = load / hold
		d.Rate = max(d.Rate, (d.Low+d.High)/2)
	}
}

// growthSure is how many standard errors the slope must be from none.
const growthSure = 3

// growth finds the doubling time of peaks, where a week of days or more shows one, and how many days do; 0 for none.
func growth(days []peak) (doubling time.Duration, shown int) {
	if len(days) < 7 {
		return 0, 0
	}
	var n, sx, sy, sxx, sxy float64
	for _, p := range days {
		if p.most < 1 {
			continue
		}
		x, y := p.at.Sub(days[0].at).Hours()/24, math.Log2(p.most)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	if n < 7 {
		return 0, 0
	}
	vx := sxx - sx*sx/n
	slope := (sxy - sx*sy/n) / vx
	at := (sy - slope*sx) / n
	rest := 0.0
	for _, p := range days {
		if p.most >= 1 {
			e := math.Log2(p.most) - at - slope*p.at.Sub(days[0].at).Hours()/24
			rest += e * e
		}
	}
	if se := math.Sqrt(rest / (n - 2) / vx); slope <= 0 || slope < growthSure*se || slope < 1e-4 {
		return 0, 0
	}
	return time.Duration(24 / slope * float64(time.Hour)), int(n)
}
