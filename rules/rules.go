package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// Alert is one alerting rule.
type Alert struct {
	// Name is CamelCase and starts with Snat; the runbook is runbooks/NAME.md.
	Name string
	// Expr is PromQL; what it returns is what fires.
	Expr string
	// Severity is one of the three words in Options.
	Severity string
	// For and KeepFiringFor are rounded to seconds.
	For, KeepFiringFor time.Duration
	// Summary is static; Description is a template of Prometheus. Detail is added to it where the server
	// itself can be asked for more (Grafana's templates cannot): where, when and why.
	Summary, Description, Detail string
	// Labels are added to severity.
	Labels map[string]string
	// Board and Panel are the board's uid and the panel that shows the alert's numbers.
	Board string
	Panel int
}

// Record is one recording rule.
type Record struct {
	Name   string
	Expr   string
	Labels map[string]string
}

// Group is a set of rules that are evaluated one after the other.
type Group struct {
	Name string
	// Interval is 0 where the server's own interval holds.
	Interval time.Duration
	// Apart: the group has a file of its own with others that are evaluated seldom and read by no page at once.
	Apart   bool
	Records []Record
	Alerts  []Alert
}

// Alerts returns every alert once, the pages first. Groups has SnatPortsExhausted more than once: for what agents tell
// outright, and less often for what takes more to see.
func (o Options) Alerts() []Alert { return append(o.pages(), o.tickets()...) }

func (o Options) pages() []Alert {
	return []Alert{
		o.exhaustionPredicted(),
		o.portsExhausted(),
		o.gatewayExhaustionPredicted(),
		o.conntrackFull(),
	}
}

// tickets and notes can wait for a minute.
func (o Options) tickets() []Alert {
	return []Alert{
		o.exhaustionExpected(),
		o.openFailures(),
		o.insertFailed(),
		o.conntrackFilling(),
		o.poolNearTierEdge(),
		o.portsLeaking(),
		o.destinationDominates(),
		o.idleExpiredFlows(),
		o.budgetChanged(),
		o.budgetContradicted(),
		o.budgetUnseen(),
		o.natRulesUnread(),
		o.agentBlind(),
		o.agentDown(),
		o.agentsAbsent(),
		o.forecastMiscalibrated(),
	}
}

// Groups returns everything, in the order in which it is written. An alert reads at most one recorded series between
// it and what agents tell, and that of another group: an engine that writes results a while after the evaluation
// does not have them yet for the next rule of the group.
func (o Options) Groups() []Group {
	gateway := []Alert{o.gatewayExhaustionPredicted(), o.portsExhaustedUnsure(), o.portsExhaustedShared()}
	pages, _ := divide(o.pages(), func(a Alert) bool { return a.Name != gatewayPage })
	tickets, slow := divide(o.tickets(), func(a Alert) bool { return a.For < slowFor })
	return []Group{
		// Pools are for planning: half as often.
		{Name: "snatwatch-pool", Interval: 2 * o.FleetInterval, Apart: true, Records: o.poolRecords()},
		{Name: "snatwatch-node", Interval: o.FleetInterval, Records: o.records(NodeFill)},
		{Name: "snatwatch-node-slow", Interval: 2 * o.FleetInterval, Records: o.records(nodeHeld, nodeOpened)},
		{Name: "snatwatch-gateway-seldom", Interval: o.seldom(), Apart: true, Records: o.seldomRecords()},
		{Name: "snatwatch-gateway-half", Interval: 2 * o.FleetInterval, Records: o.halfRecords()},
		{Name: "snatwatch-gateway", Interval: o.FleetInterval, Records: o.pageRecords()},
		{Name: "snatwatch-gateway-ahead", Interval: o.FleetInterval, Records: o.aheadRecords()},
		{Name: "snatwatch-gateway-probability", Interval: o.FleetInterval, Records: o.probabilityRecords()},
		{Name: "snatwatch-fleet-pages", Interval: o.FleetInterval, Alerts: gateway},
		{Name: "snatwatch-pages", Interval: o.PageInterval, Alerts: pages},
		{Name: "snatwatch-tickets", Interval: o.FleetInterval, Alerts: tickets},
		{Name: "snatwatch-tickets-slow", Interval: 2 * o.FleetInterval, Alerts: slow},
	}
}

// slowFor is how long an alert must last before it fires for its rule to be evaluated half as often.
const slowFor = 10 * time.Minute

// divide returns the alerts that satisfy first, and the others.
func divide(alerts []Alert, first func(Alert) bool) (yes, no []Alert) {
	for _, a := range alerts {
		if first(a) {
			yes = append(yes, a)
		} else {
			no = append(no, a)
		}
	}
	return yes, no
}

// m writes a metric with the selector of the options and the given matchers.
func (o Options) m(name metrics.Name, matchers ...string) string {
	return o.series(string(name), matchers...)
}

// series is m for a recorded or derived series name.
func (o Options) series(name string, matchers ...string) string {
	if o.Selector != "" {
		matchers = append([]string{strings.TrimSpace(o.Selector)}, matchers...)
	}
	return o.ofShard(name, matchers)
}

// shard matches the clusters of the shard.
func (o Options) shard() string { return o.ClusterLabel + "=~" + strconv.Quote(o.Shard) }

// ofShard writes a series, and of a shard those of its clusters.
func (o Options) ofShard(name string, matchers []string) string {
	if o.Shard != "" {
		matchers = append([]string{o.shard()}, matchers...)
	}
	if len(matchers) == 0 {
		return name
	}
	return name + "{" + strings.Join(matchers, ", ") + "}"
}

// agent lists the labels that tell one agent from another, and more.
func (o Options) agent(more ...metrics.Label) string {
	return o.labels(append([]metrics.Label{"job", "instance"}, more...)...)
}

// labels lists the cluster label and more.
func (o Options) labels(more ...metrics.Label) string {
	list := []string{o.ClusterLabel}
	for _, l := range more {
		list = append(list, string(l))
	}
	return strings.Join(list, ", ")
}

// withBudget joins pool, gateway and model to an expression that has the labels of
// an agent and a budget.
func (o Options) withBudget(expr string) string {
	return o.join(expr, "pool, gateway, model")
}

// join takes labels from the budget's info metric.
func (o Options) join(expr, labels string) string {
	return "(\n" + indent(expr) + "\n)\n* on (" + o.agent(metrics.LabelBudget) + ") group_left (" + labels + ") " + o.BudgetInfo()
}

// BudgetInfo is the budget's info metric with one series per agent and budget. For a scrape or two there may be
// more: a pod's successor on the same node answers before the target of the first is forgotten, and the
// config it was given may be another. Each join would then fail, for every node of the fleet.
func (o Options) BudgetInfo(matchers ...string) string {
	return fmt.Sprintf("topk by (%s) (1, %s)", o.agent(metrics.LabelBudget), o.m(metrics.BudgetInfo, matchers...))
}

// hysteresis raises an alert when expr >= raise and clears it when expr < lower:
// a self-join with the alert's own state, on the labels in on. Grafana writes no
// series ALERTS: there keep_firing_for alone holds the alert.
func (o Options) hysteresis(alert, expr, raise, lower, on string) string {
	if o.inline {
		return expr + " >= " + raise
	}
	return expr + " >= " + raise + "\nor\n(\n" + indent(expr) + " >= " + lower + "\n  and on (" + on + ")\n  ALERTS{alertname=\"" + alert + "\", alertstate=\"firing\"}\n)"
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(s, "\n", "\n  ")
}
