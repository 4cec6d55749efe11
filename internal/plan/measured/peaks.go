package measured

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// recordedHeld is what the shipped rules record of a gateway's destinations: the ports that all its nodes hold.
const recordedHeld = "gateway:snat_ports_held:sum"

// peaks is the most that was held in one port space, by step.
func (a *asker) peaks() ([]remote.Point, error) {
	all, err := a.ofRules()
	asked := metrics.BusiestPortsHeld
	if err == nil && len(all) == 0 {
		expr := fmt.Sprintf("max(max_over_time(%s{%s}[%s]))", asked, a.match, promRange(step))
		if a.shared {
			asked = metrics.PortsHeld
			// Each node's part of one destination, summed; an instant each step, since peaks of nodes do not coincide.
			expr = fmt.Sprintf("max(sum by (vip, destination) (%s{%s,destination!=\"other\"}))", asked, a.match)
		}
		all, err = a.days(expr)
	}
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		if math.IsNaN(x.Value) || math.IsInf(x.Value, 0) || x.Value < 0 {
			return nil, fmt.Errorf("%s{%s} is %v at %s: no number of ports", asked, a.match, x.Value,
				x.At.UTC().Format(time.RFC3339))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no %s{%s} within %v", asked, a.match, a.fleet.Range)
	}
	if a.gaps(all) {
		a.note("The range has gaps: %d of %d moments have samples.", len(all), int(a.fleet.Range/step))
	}
	return all, nil
}

// ofRules are the peaks of a gateway as rules have recorded them: the nodes' own series are many. None where a part of
// the range was not recorded.
func (a *asker) ofRules() ([]remote.Point, error) {
	if a.recorded == "" {
		return nil, nil
	}
	all, err := a.days(fmt.Sprintf("max(max_over_time(%s{%s}[%s]))", recordedHeld, a.recorded, promRange(step)))
	if a.gaps(all) {
		return nil, err
	}
	return all, err
}

// gaps reports whether a tenth or more of the range has no samples.
func (a *asker) gaps(points []remote.Point) bool { return len(points) < int(a.fleet.Range/step)*9/10 }

// days evaluates an expression over the range, by step. Each day is a query of its own: Prometheus bounds the samples
// that one may touch. Two are asked at a time: more would take the processors from what else a Prometheus has to do.
func (a *asker) days(expr string) ([]remote.Point, error) {
	first := a.fleet.Now.Add(-a.fleet.Range)
	answers := make([][]remote.Point, (a.fleet.Range+day-1)/day)
	g, ctx := errgroup.WithContext(a.ctx)
	g.SetLimit(2)
	for i := range answers {
		from := first.Add(time.Duration(i) * day)
		to := from.Add(day - step)
		if to.After(a.fleet.Now) {
			to = a.fleet.Now
		}
		g.Go(func() (err error) {
			answers[i], err = a.p.Range(ctx, expr, from.Add(step), to.Add(step), step)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(answers...), nil
}
