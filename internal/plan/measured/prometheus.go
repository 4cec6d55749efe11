package measured

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/remote"
	"github.com/snatwatch/snatwatch/internal/words"
)

// Fleet says what of a Prometheus is meant.
type Fleet struct {
	// Budget, Pool and Gateway narrow it down; empty is any. What is left must be one budget.
	Budget, Pool, Gateway string
	// Range is how far back is looked, Now where from.
	Range time.Duration
	Now   time.Time
}

// step is between two moments at which the peak is read; all samples between count.
const step = 5 * time.Minute

// FromPrometheus asks a Prometheus for the peaks of a fleet's budget over a range.
func FromPrometheus(ctx context.Context, p *remote.Prometheus, f Fleet) (in plan.Input, err error) {
	if f.Range < time.Hour || f.Range > 400*24*time.Hour {
		return in, fmt.Errorf("range %v: want an hour to 400 days", f.Range)
	}
	a := &asker{ctx: ctx, p: p, fleet: f}
	known, err := a.budget()
	if err != nil {
		return in, err
	}
	points, err := a.peaks()
	if err != nil {
		return in, err
	}
	top := slices.MaxFunc(points, func(x, y remote.Point) int { return compare(x.Value, y.Value) })
	a.lookAt(top.At)
	if in.Demand, err = a.flows(top); err != nil {
		return in, err
	}
	live, cooling := a.busiest(&in.Demand, top.At)
	if a.err != nil {
		return in, a.err
	}
	known.meanCoolDown = a.meanCoolDown()
	var notes []string
	var b *budget.Budget
	if b, notes, err = known.budget(); err != nil {
		return in, err
	}
	const unknown = "%s or %s has no sum or no count: "
	switch {
	case known.meanCoolDown >= 0:
	case live > 0 && cooling > 0 && plan.MeanCoolDown(&in.Demand, &b.TCP) == 0:
		// The model has none, and yet ports cool down: as many more than are live as a cool-down is longer than a lifetime.
		known.meanCoolDown = in.Demand.Lifetimes.Mean() * cooling / live
		a.note(unknown+"the cool-down follows from the ports that were live and cooling: %.3g s.", metrics.HoldSeconds,
			metrics.LifetimeSeconds, known.meanCoolDown)
		if b, notes, err = known.budget(); err != nil {
			return in, err
		}
	default:
		a.note(unknown+"cool-downs are the model's, not measured.", metrics.HoldSeconds, metrics.LifetimeSeconds)
	}
	in.Budget, in.Nodes, in.Now = b.Params, known.nodes, f.Now
	if err := a.demand(&in.Demand, b, points, live, cooling); err != nil {
		return in, err
	}
	in.Doubling = a.doubling
	in.CPU = a.cpu()
	in.Notes = slices.Concat(notes, a.notes)
	return in, a.err
}

// budget finds the budget meant, and its numbers.
func (a *asker) budget() (s seen, err error) {
	var matchers []string
	for _, m := range []struct{ label, value string }{
		{"budget", a.fleet.Budget}, {"pool", a.fleet.Pool}, {"gateway", a.fleet.Gateway},
	} {
		if m.value != "" {
			matchers = append(matchers, fmt.Sprintf("%s=%q", m.label, m.value))
		}
	}
	info := a.latest("group by (instance, budget, model, scope, pool, gateway) (last_over_time(%s{%s}[%s]))",
		metrics.BudgetInfo, strings.Join(matchers, ","))
	if a.err != nil {
		return s, a.err
	}
	if len(info) == 0 {
		return s, a.noBudget(strings.Join(matchers, ","))
	}
	instances := map[string]bool{}
	kinds := map[string]map[string]string{}
	for _, i := range info {
		l := i.Labels
		kinds[fmt.Sprintf("budget %s, model %s, pool %q, gateway %q", l["budget"], l["model"], l["pool"],
			l["gateway"])] = l
		instances[l["instance"]] = true
	}
	if len(kinds) > 1 {
		return s, fmt.Errorf("several budgets: say which with --budget, --pool or --gateway:\n  %s",
			strings.Join(slices.Sorted(maps.Keys(kinds)), "\n  "))
	}
	l := info[0].Labels
	if a.shared = l["scope"] == "shared"; a.shared && l["gateway"] != "" && a.fleet.Pool == "" {
		a.recorded = fmt.Sprintf("budget=%q,gateway=%q,protocol=\"tcp\"", l["budget"], l["gateway"])
	}
	a.nodes = slices.Sorted(maps.Keys(instances))
	a.match = fmt.Sprintf("budget=%q,protocol=\"tcp\"", l["budget"])
	if a.fleet.Pool != "" || a.fleet.Gateway != "" {
		// Metrics of ports carry no pool: the instances that have this budget stand in for it.
		a.match += fmt.Sprintf(",instance=~%q", instancesPattern(a.nodes))
	}
	s = seen{name: l["budget"], model: l["model"], nodes: len(a.nodes), shared: a.shared, meanCoolDown: -1}
	of := fmt.Sprintf("budget=%q", l["budget"])
	s.vips, s.ports = a.number(metrics.VIPs, of), a.number(metrics.BudgetPorts, a.match)
	if n := a.number(metrics.PoolNodes, of); n > s.nodes {
		a.note("The pool has %d nodes, of which %s.", n, words.Counted(s.nodes, "runs an agent", "run an agent"))
		s.nodes = n
	}
	if a.err == nil && s.ports == 0 {
		return s, fmt.Errorf("no %s{%s} above 0 within %v: without the budget's ports there is no plan", metrics.BudgetPorts,
			a.match, a.fleet.Range)
	}
	if s.vips == 0 {
		a.note("%s is missing: one VIP is taken.", metrics.VIPs)
	}
	return s, a.err
}

// noBudget says why no budget has those matchers: none has, or which metric is missing.
func (a *asker) noBudget(matchers string) error {
	known := a.latest("group by (budget, pool, gateway) (last_over_time(%s[%s]))", metrics.BudgetInfo)
	if a.err != nil {
		return a.err
	}
	ports := string(metrics.BudgetPorts)
	if a.fleet.Budget != "" {
		ports += fmt.Sprintf("{budget=%q}", a.fleet.Budget)
	}
	has, _, err := a.p.Having(a.ctx, a.fleet.Now, a.fleet.Range, ports)
	switch {
	case err != nil:
		return err
	case len(has) > 0 && (len(known) == 0 || a.fleet.Pool+a.fleet.Gateway == ""):
		return fmt.Errorf("%s has %s but no %s{%s} within %v, which the same agents serve: does a relabel rule drop it?",
			a.p.URL(), ports, metrics.BudgetInfo, matchers, a.fleet.Range)
	case len(known) == 0:
		return fmt.Errorf("%s has no %s and no %s within %v: no agent was scraped", a.p.URL(), metrics.BudgetInfo, ports,
			a.fleet.Range)
	}
	var all []string
	for _, k := range known {
		all = append(all, fmt.Sprintf("budget %s, pool %q, gateway %q", k.Labels["budget"], k.Labels["pool"],
			k.Labels["gateway"]))
	}
	slices.Sort(all)
	return fmt.Errorf("no budget has %s within %v; there are\n  %s", matchers, a.fleet.Range, strings.Join(all, "\n  "))
}

// lookAt chooses the hour around a peak, in which lifetimes and ends are counted: in quiet hours they may differ.
func (a *asker) lookAt(peak time.Time) {
	a.around = min(time.Hour, a.fleet.Range)
	a.at = peak.Add(a.around / 2)
	if a.at.After(a.fleet.Now) {
		a.at = a.fleet.Now
	}
	if _, n := a.mean(metrics.LifetimeSeconds); n < 1 {
		a.around, a.at = a.fleet.Range, a.fleet.Now
	}
}

// meanCoolDown is the mean of the flows that ended around the peak; below 0 where it is not known.
func (a *asker) meanCoolDown() float64 {
	hold, n := a.mean(metrics.HoldSeconds)
	life, n2 := a.mean(metrics.LifetimeSeconds)
	if !(n > 0 && n2 > 0 && hold > 0 && life > 0) {
		return -1
	}
	return max(0, hold-life)
}

// flows is how the flows of all destinations lived and ended around the peak.
func (a *asker) flows(top remote.Point) (d plan.Demand, err error) {
	law, within, err := a.lifetimes()
	if err != nil {
		return d, err
	}
	d = plan.Demand{Lifetimes: law, LifetimesWithin: within, Peakedness: 1, Next: math.NaN(), Ends: a.ends()}
	if top.Value < 1 {
		return d, fmt.Errorf("no port of the budget was held within %v", a.fleet.Range)
	}
	return d, a.err
}

// demand makes d the demand of the busiest port space, at its peaks. At the highest it had so many ports live and
// cooling.
func (a *asker) demand(d *plan.Demand, b *budget.Budget, points []remote.Point, live, cooling float64) error {
	cool := plan.MeanCoolDown(d, &b.TCP)
	// The busiest destination's own lifetime follows from how many of its ports are live and how many cooling.
	switch {
	case live > 0 && cooling > 0 && cool > 0:
		d.Lifetimes = d.Lifetimes.WithMean(cool * live / cooling)
	case cool > 0 && d.Destination != "":
		a.note("%s or %s is missing: lifetimes are of all destinations, not the busiest one's own.",
			metrics.PortsLive, metrics.PortsCooling)
	case d.Next > 0:
		a.note("No port cools down: lifetimes are the mean of all destinations in the hour around the peak, not the " +
			"busiest one's own.")
	}
	hold := d.Lifetimes.Mean() + cool
	if hold <= 0 {
		return errors.New("hold times are 0: no port can have been held")
	}
	a.fit(d, points, hold, b)
	return a.err
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// busiest names the destination that held most at a moment, and returns how many of its ports were live and cooling.
func (a *asker) busiest(d *plan.Demand, at time.Time) (live, cooling float64) {
	agg := "max"
	if a.shared {
		agg = "sum"
	}
	spaces := a.ask(at, "topk(2, %s by (vip, destination) (max_over_time(%s{%s,destination!=\"other\"}[%s])))",
		agg, metrics.PortsHeld, a.match, promRange(step))
	if len(spaces) == 0 {
		a.note("%s has no destinations: which one is the busiest is not known.", metrics.PortsHeld)
		return 0, 0
	}
	slices.SortFunc(spaces, func(x, y remote.Sample) int { return compare(y.Value, x.Value) })
	top := spaces[0].Labels
	d.Destination, d.Next = top["destination"], 0
	if len(spaces) > 1 {
		d.Next = spaces[1].Value / max(1, spaces[0].Value)
	}
	of := fmt.Sprintf("%s,destination=%q,vip=%q", a.match, top["destination"], top["vip"])
	live, _ = a.one(at, "%s(max_over_time(%s{%s}[%s]))", agg, metrics.PortsLive, of, promRange(step))
	cooling, _ = a.one(at, "%s(max_over_time(%s{%s}[%s]))", agg, metrics.PortsCooling, of, promRange(step))
	return live, cooling
}

// ends are the flows around the peak by how they ended.
func (a *asker) ends() map[string]float64 {
	out := map[string]float64{}
	for _, s := range a.ask(a.at, "sum by (reason) (increase(%s{%s}[%s])) > 0", metrics.FlowsClosed, a.match,
		promRange(a.around)) {
		out[s.Labels["reason"]] = s.Value
	}
	if len(out) == 0 {
		a.note("%s is missing: all flows are taken to end by FIN.", metrics.FlowsClosed)
		return nil
	}
	return out
}

// cpu is the share of the nodes' processors in use at the busiest, 0 where no node_exporter runs beside the agents.
func (a *asker) cpu() float64 {
	hosts := map[string]bool{}
	for _, n := range a.nodes {
		hosts[host(n)] = true
	}
	used := a.ask(a.fleet.Now, "max_over_time((1 - avg by (instance) "+
		"(rate(node_cpu_seconds_total{mode=\"idle\"}[15m])))[%s:1h])", promRange(min(a.fleet.Range, 7*24*time.Hour)))
	sum, n := 0.0, 0
	for _, s := range used {
		if hosts[host(s.Labels["instance"])] {
			sum += s.Value
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return max(0, min(1, sum/float64(n)))
}

// host is an instance without its port.
func host(instance string) string {
	if h, _, err := net.SplitHostPort(instance); err == nil {
		return h
	}
	return instance
}
