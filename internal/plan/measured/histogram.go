package measured

import (
	"fmt"
	"math"
	"slices"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// counts are what a histogram of the budget counted around the peak.
type counts struct{ remote.Buckets }

// total is how many it counted.
func (c counts) total() (n float64) {
	for _, x := range c.Counts {
		n += x
	}
	return n
}

// counted reads the native histogram where the server keeps it, and the classic one where not. It is empty where
// nothing was counted or the metric is missing.
func (a *asker) counted(h metrics.Name) counts {
	if c, ok := a.native(h); ok {
		return c
	}
	over := promRange(a.around)
	type bucket struct{ bound, count float64 }
	var all []bucket
	for _, s := range a.ask(a.at, "sum by (le) (increase(%s_bucket{%s}[%s]))", h, a.match, over) {
		var bound float64
		if _, err := fmt.Sscan(s.Labels["le"], &bound); err != nil {
			a.err = fmt.Errorf("bucket %q of %s is no number", s.Labels["le"], h)
			return counts{}
		}
		all = append(all, bucket{bound, s.Value})
	}
	if len(all) < 2 {
		return counts{}
	}
	slices.SortFunc(all, func(x, y bucket) int { return compare(x.bound, y.bound) })
	var out counts
	before := 0.0
	for _, x := range all {
		if !math.IsInf(x.bound, 1) {
			out.Bounds = append(out.Bounds, x.bound)
		}
		out.Counts = append(out.Counts, max(0, x.count-before)) // a reset of a counter may cost a little
		before = max(before, x.count)
	}
	if len(out.Counts) == len(out.Bounds) {
		out.Counts = append(out.Counts, 0)
	}
	out.Sum, _ = a.one(a.at, "sum(increase(%s_sum{%s}[%s]))", h, a.match, over)
	return out
}

// native is counted of a server that keeps the native histogram; ok is false of another.
func (a *asker) native(h metrics.Name) (c counts, ok bool) {
	for _, s := range a.ask(a.at, "sum(increase(%s{%s}[%s]))", h, a.match, promRange(a.around)) {
		if s.Buckets != nil {
			return counts{*s.Buckets}, true
		}
	}
	return counts{}, false
}

// mean is the mean of a histogram around the peak, and how many values it counted.
func (a *asker) mean(h metrics.Name) (mean, n float64) {
	if c, ok := a.native(h); ok {
		n = c.total()
		return c.Sum / n, n
	}
	over := promRange(a.around)
	n, _ = a.one(a.at, "sum(increase(%s_count{%s}[%s]))", h, a.match, over)
	sum, _ := a.one(a.at, "sum(increase(%s_sum{%s}[%s]))", h, a.match, over)
	return sum / n, n
}

// lifetimes is the law of all flows of the budget that ended around the peak, known to within that factor.
func (a *asker) lifetimes() (l plan.Law, within float64, err error) {
	c := a.counted(metrics.LifetimeSeconds)
	if a.err != nil {
		return nil, 0, a.err
	}
	if c.total() <= 0 {
		return nil, 0, a.noLifetimes()
	}
	if c.Sum <= 0 {
		a.note("%s_sum is missing: the mean lifetime is known as well as the buckets are wide.", metrics.LifetimeSeconds)
	}
	return plan.HistogramLaw(c.Bounds, c.Counts, c.Sum)
}

// noLifetimes says why there are none: no flow ended, or the metric is missing.
func (a *asker) noLifetimes() error {
	has, _, err := a.p.Having(a.ctx, a.fleet.Now, a.fleet.Range, fmt.Sprintf("%s_bucket{%s}", metrics.LifetimeSeconds,
		a.match))
	switch {
	case err != nil:
		return err
	case len(has) > 0:
		return fmt.Errorf("no flow has ended within %v: %s counted none", a.fleet.Range, metrics.LifetimeSeconds)
	}
	return fmt.Errorf("no %s_bucket{%s} within %v: without lifetimes there is no plan", metrics.LifetimeSeconds, a.match,
		a.fleet.Range)
}
