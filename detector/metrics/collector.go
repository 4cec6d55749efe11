package metrics

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Collector serves the metrics of the table from the current view.
type Collector struct {
	view  func() *View
	descs map[Name]*prometheus.Desc
}

// NewCollector returns a collector that asks view once per scrape. view must not
// return nil, and may be called from several goroutines.
func NewCollector(view func() *View) *Collector {
	c := &Collector{view: view, descs: map[Name]*prometheus.Desc{}}
	for _, m := range Metrics() {
		labels := make([]string, len(m.Labels))
		for i, l := range m.Labels {
			labels[i] = string(l)
		}
		c.descs[m.Name] = prometheus.NewDesc(string(m.Name), m.Help, labels, nil)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range Metrics() {
		ch <- c.descs[m.Name]
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	v := c.view()
	e := emitter{c.descs, ch}
	e.agent(v)
	if v.Snapshot == nil {
		return
	}
	e.gauge(SnapshotTimestamp, float64(v.At.UnixMilli())/1e3)
	e.gauge(SnapshotAge, v.Age.Seconds())
	e.flag(WarmingUp, v.Snapshot.Warming)
	e.namespaces(v)
	e.ownerInfo(v.Snapshot)
	for i := range v.Snapshot.Budgets {
		b := &v.Snapshot.Budgets[i]
		e.budget(v, b)
		for j := range b.Protocols {
			e.protocol(v, b.Budget, &b.Protocols[j])
		}
	}
}

// emitter sends const metrics of one scrape. Label values come in the order of
// the table.
type emitter struct {
	descs map[Name]*prometheus.Desc
	ch    chan<- prometheus.Metric
}

// gauge leaves out what is not a finite number: an absent series is honest, NaN
// spoils every sum that it is in. Only times to exhaustion may be +Inf.
func (e emitter) gauge(n Name, v float64, labels ...string) {
	if math.IsNaN(v) || math.IsInf(v, -1) || math.IsInf(v, 1) && !mayBeNever(n) {
		return
	}
	e.ch <- prometheus.MustNewConstMetric(e.descs[n], prometheus.GaugeValue, v, labels...)
}

// estimate is gauge for an estimate that is made here: those of a snapshot are as detector.Estimate gives them already.
func (e emitter) estimate(n Name, v float64, labels ...string) {
	e.gauge(n, detector.Estimate(v), labels...)
}

// mayBeNever reports whether n is a time to something that may never come.
func mayBeNever(n Name) bool {
	return n == TimeToExhaustion || n == SoonestExhaustion || n == ConntrackTimeToFull || n == AllowanceTimeToExhaustion
}

func (e emitter) flag(n Name, on bool, labels ...string) {
	v := 0.0
	if on {
		v = 1
	}
	e.gauge(n, v, labels...)
}

func (e emitter) count(n Name, v uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(e.descs[n], prometheus.CounterValue, float64(v), labels...)
}

func (e emitter) agent(v *View) {
	e.flag(CPUBudgetExceeded, v.CPUExceeded)
	if n := v.NATRules; n != nil {
		e.gauge(NATRuleCount, float64(n.Read), StateRead)
		e.gauge(NATRuleCount, float64(n.NotRead), StateNotRead)
		e.gauge(NATRuleCount, float64(n.Shadowed), StateShadowed)
	}
	e.flag(ConfigReloadSuccess, v.Reload.OK)
	e.gauge(ConfigReloadTimestamp, float64(v.Reload.At.UnixMilli())/1e3)
	e.gauge(AgentBuildInfo, 1, v.Build.Version, v.Build.Revision, v.Build.GoVersion)
	for _, s := range v.sources() {
		e.gauge(SourceInfo, 1, s.netns, s.Name, s.Strategy)
		e.count(DecodeErrors, s.DecodeErrors, s.netns, s.Name)
		if s.Dump > 0 {
			e.gauge(DumpSeconds, s.Dump.Seconds(), s.netns, s.Name)
		}
	}
	for _, a := range v.Allowances {
		if e.count(AllowanceExceeded, a.Exceeded, a.Interface); a.Known {
			e.gauge(AllowanceAvailable, float64(a.Available), a.Interface)
		}
		if a.Forecast {
			e.gauge(AllowanceTimeToExhaustion, a.SecondsToExhaustion, a.Interface)
		}
	}
	for _, k := range v.Kernel {
		netns := v.netns(k.Netns)
		if k.Counted {
			e.count(ConntrackInsertFailed, k.InsertFailed, netns)
			e.count(ConntrackDrop, k.Drop, netns)
			e.count(ConntrackEarlyDrop, k.EarlyDrop, netns)
			e.count(ConntrackFound, k.Found, netns)
		}
		e.gauge(ConntrackEntries, float64(k.Entries), netns)
		if k.EntriesMax > 0 {
			e.gauge(ConntrackEntriesLimit, float64(k.EntriesMax), netns)
		}
		if k.Forecast {
			e.gauge(ConntrackTimeToFull, k.SecondsToFull, netns)
		}
	}
}

func (e emitter) namespaces(v *View) {
	for _, n := range v.namespaces() {
		e.flag(LedgerExact, n.Exact, n.netns)
		e.gauge(LedgerFlows, float64(n.Flows), n.netns)
		e.gauge(OtherProtocols, float64(n.OtherProtocols), n.netns)
		e.count(EventsLost, n.EventsLost, n.netns)
		e.count(Resyncs, n.Resyncs, n.netns)
		e.count(LedgerMismatches, n.Mismatches, n.netns)
	}
}

func (e emitter) budget(v *View, s *detector.BudgetSnapshot) {
	b := s.Budget
	assumed := slices.Sorted(slices.Values(b.Assumed))
	e.gauge(BudgetInfo, 1, b.Name, b.Model, b.Scope.String(), b.Pool, cmp.Or(sharedGateway(b), b.Gateway),
		strings.Join(assumed, ","))
	e.flag(BudgetContradicted, s.Contradicted, b.Name)
	if b.Nodes > 0 {
		e.gauge(PoolNodes, float64(b.Nodes), b.Name)
	}
	if b.NextTierPorts > 0 {
		e.gauge(PoolNodesToNextTier, float64(b.NodesToNextTier), b.Name)
		e.gauge(NextTierPorts, float64(b.NextTierPorts), b.Name)
	}
	if b.VIPCount > 0 {
		e.gauge(VIPs, float64(b.VIPCount), b.Name)
	}
	if stale, watched := v.PoolStale[b.Name]; watched {
		e.flag(PoolStale, stale, b.Name)
	}
	if v.Measures != nil {
		for _, m := range v.Measures(s) {
			e.gauge(AdvicePorts, float64(m.Ports), b.Name, m.Name)
		}
	}
	for i, h := range HorizonValues() {
		e.gauge(ForecastBrierScore, s.Brier[i], b.Name, h)
	}
}

// sharedGateway names what nodes share a budget at, empty where they share none: the gateway, or where
// nobody named it the pool or the budget. Series that carry it add up over nodes without a join, which
// costs Prometheus twenty times as much.
func sharedGateway(b *budget.Budget) string {
	if b.Scope != budget.ScopeShared {
		return ""
	}
	return cmp.Or(b.Gateway, b.Pool, b.Name)
}

func (e emitter) protocol(v *View, b *budget.Budget, p *detector.AccountSnapshot) {
	budget, shared := b.Name, sharedGateway(b)
	protocol := p.Protocol.String()
	e.gauge(BudgetPorts, float64(p.Terms.Ports), budget, protocol)
	if p.Terms.Total > 0 {
		e.gauge(BudgetAllPorts, float64(p.Terms.Total), budget, protocol)
	}
	e.gauge(BudgetEffectivePorts, float64(p.Terms.Effective), budget, protocol)
	e.gauge(AllPortsHeld, float64(p.Held), budget, protocol)
	e.gauge(BusiestPortsHeld, float64(p.Busiest), budget, protocol)
	e.gauge(DestinationsTracked, float64(p.Tracked), budget, protocol)
	e.gauge(DestinationsFolded, float64(p.Folded), budget, protocol)
	e.gauge(FoldedPortsHeldMax, float64(p.FoldedMax), budget, protocol)
	e.ownerTotals(p, budget, protocol)
	e.count(FlowsOpened, p.Opened, budget, protocol)
	for r := range collector.NumReasons {
		e.count(FlowsClosed, p.Closed[r], budget, protocol, r.String())
	}
	e.histogram(LifetimeSeconds, &p.Lifetime, budget, protocol)
	e.histogram(HoldSeconds, &p.Hold, budget, protocol)
	if p.Protocol == collector.TCP {
		e.failures(v, b, p)
		if v.Stalled && (!b.SpacePerVIP || oneVIP(p)) {
			e.gauge(StalledAtCeiling, float64(stalledAtCeiling(p)), budget, protocol)
		}
	}
	var first *detector.SpaceSnapshot
	for i := range p.Spaces {
		s := &p.Spaces[i]
		if s.Forecast != nil && (first == nil || sooner(s, first)) {
			first = s
		}
		e.space(s, budget, shared, protocol, s.VIP, s.Destination)
		e.ownersHeld(s, budget, shared, protocol, s.VIP, s.Destination)
		if shared != "" {
			e.excess(s, smallShare(b, p.Terms.OfClass(s.Class)), budget, shared, protocol, s.VIP, s.Destination)
		}
		e.lowPorts(s, p.Terms.OfClass(s.Class), budget, shared, protocol, s.VIP, s.Destination)
		if 2*s.Held > p.Held {
			e.gauge(DominantPortsHeld, float64(s.Held), budget, shared, protocol, s.VIP, s.Destination)
		}
	}
	if first != nil {
		e.gauge(SoonestExhaustion, first.Forecast.TimeToExhaustion, budget, shared, protocol, first.VIP, first.Destination)
		e.largestOwner(first, budget, shared, protocol, first.VIP, first.Destination)
	}
	e.space(&p.Other, budget, shared, protocol, "", DestinationOther)
	if p.Forecast.Spaces == 0 {
		return
	}
	for i, h := range HorizonValues() {
		e.estimate(AllForecastPortsMean, p.Forecast.Mean[i], budget, protocol, h)
		e.estimate(AllForecastPortsVariance, p.Forecast.Variance[i], budget, protocol, h)
		e.gauge(ExhaustionProbabilityMax, p.Forecast.Probability[i], budget, protocol, h)
	}
}

// failures are failed opens of TCP: a first packet of UDP is not sent again by the kernel, and no
// answer to it means nothing.
func (e emitter) failures(v *View, b *budget.Budget, p *detector.AccountSnapshot) {
	budget, protocol := b.Name, p.Protocol.String()
	for _, cause := range v.Causes.Of(b) {
		switch cause {
		case CauseUnanswered:
			e.count(OpenFailures, p.Unanswered, budget, protocol, cause)
		case CauseRefused:
			e.count(OpenFailures, p.Refused, budget, protocol, cause)
		case CausePorts:
			e.count(OpenFailures, p.NoPorts, budget, protocol, cause)
		}
	}
	if v.Stalled {
		e.gauge(OpeningStalled, float64(p.Stalled), budget, protocol)
	}
}

// oneVIP reports whether all port spaces that are shown have the same VIP: then a socket that stalls can only wait for
// it.
func oneVIP(p *detector.AccountSnapshot) bool {
	vip := func(s *detector.SpaceSnapshot) string {
		return strings.TrimSpace(strings.TrimSuffix(s.VIP, s.Class.String()))
	}
	return !slices.ContainsFunc(p.Spaces, func(s detector.SpaceSnapshot) bool { return vip(&s) != vip(&p.Spaces[0]) })
}

// stalledAtCeiling counts flows that stall towards port spaces at their effective ceiling: the fullest ones, which are
// among those exported one by one.
func stalledAtCeiling(p *detector.AccountSnapshot) int {
	n := 0
	for i := range p.Spaces {
		s := &p.Spaces[i]
		if terms := p.Terms.OfClass(s.Class); s.Held >= terms.Ceiling() {
			n += s.Stalled
		}
	}
	return n
}

func (e emitter) space(s *detector.SpaceSnapshot, labels ...string) {
	e.gauge(PortsHeld, float64(s.Held), labels...)
	e.gauge(PortsLive, float64(s.Live), labels...)
	e.gauge(PortsCooling, float64(s.Cooling), labels...)
	f := s.Forecast
	if f == nil {
		return
	}
	for i, h := range HorizonValues() {
		ahead := slices.Concat(labels, []string{h})
		e.gauge(ForecastPortsMean, f.Mean[i], ahead...)
		e.gauge(ForecastPortsVariance, f.Variance[i], ahead...)
		e.gauge(ExhaustionProbability, f.Probability[i], ahead...)
		if f.Probability[i] >= LikelyProbability {
			e.gauge(LikelyExhaustion, f.Probability[i], ahead...)
			if detector.Horizons()[i] == detector.PageHorizon {
				e.gauge(PageUrgency, float64(f.Urgency), ahead...)
			}
		}
	}
	e.gauge(TimeToExhaustion, f.TimeToExhaustion, labels...)
}

// lowPorts is the fill of a port space whose ceiling is not the budget's.
func (e emitter) lowPorts(s *detector.SpaceSnapshot, own budget.Terms, labels ...string) {
	if s.Class != budget.AnyClass && own.Ceiling() > 0 {
		e.gauge(LowPortsFill, float64(s.Held)/float64(own.Ceiling()), labels...)
	}
}

// nodesBehind is how many nodes share a budget where nobody tells.
const nodesBehind = 250

// smallShare is what each node holds where all together hold a quarter of the ceiling: a thousandth of it where nobody
// tells how many nodes there are, and at least one port.
func smallShare(b *budget.Budget, t budget.Terms) int {
	return max(1, t.Ceiling()/(4*cmp.Or(b.Nodes, nodesBehind)))
}

// excess is what a port space holds above a level, and is forecast to. Rules that add up all nodes read it often, as
// few port spaces have any, and the rest less often.
func (e emitter) excess(s *detector.SpaceSnapshot, level int, labels ...string) {
	if s.Held > level {
		e.gauge(ExcessPortsHeld, float64(s.Held-level), labels...)
	}
	if s.Forecast == nil {
		return
	}
	for i, h := range HorizonValues() {
		if over := s.Forecast.Mean[i] - float64(level); over > 0 {
			e.gauge(ExcessForecastPortsMean, over, slices.Concat(labels, []string{h})...)
		}
	}
}

// sooner says whether a port space runs out before another, or is the fuller of two that do not.
func sooner(s, than *detector.SpaceSnapshot) bool {
	if a, b := s.Forecast.TimeToExhaustion, than.Forecast.TimeToExhaustion; a != b {
		return a < b
	}
	return s.Held > than.Held
}
