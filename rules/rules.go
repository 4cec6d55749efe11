// Package rules puts alerts and recording rules into groups, and writes them as Prometheus rule files, as an operator's
// PrometheusRule and as Grafana-managed alert rules. Alerts stand in rules/alerts, one a file, what is recorded in
// rules/records, how either writes PromQL in rules/query, and what a user may set in rules/options. Names come from
// detector/metrics.
package rules

import (
	"time"

	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/alerts/pages"
	"github.com/snatwatch/snatwatch/rules/alerts/tickets"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/records"
)

// Options are what a user may set, and the rules that follow from it.
type Options struct{ options.Options }

// Default returns the options of the generated files in the repository.
func Default() Options { return Options{options.Default()} }

// Group is a set of rules that are evaluated one after the other.
type Group struct {
	Name string
	// Interval is 0 where the server's own interval holds.
	Interval time.Duration
	// Apart: the group has a file of its own with others that are evaluated seldom and read by no page at once.
	Apart   bool
	Records []records.Record
	Alerts  []alerts.Alert
}

// Alerts returns every alert once, the pages first. Groups has SnatPortsExhausted more than once: for what agents tell
// outright, and less often for what takes more to see.
func (o Options) Alerts() []alerts.Alert {
	return append(pages.All(o.Options), tickets.All(o.Options)...)
}

// Groups returns everything, in the order in which it is written. An alert reads at most one recorded series between
// it and what agents tell, and one of another group: an engine that writes results a while after the evaluation
// does not have them yet for the next rule of the group.
func (o Options) Groups() []Group {
	var soon, slow []alerts.Alert
	for _, a := range tickets.All(o.Options) {
		if a.For < slowFor {
			soon = append(soon, a)
		} else {
			slow = append(slow, a)
		}
	}
	often, half, quarter := o.FleetInterval, 2*o.FleetInterval, o.Quarter()
	return []Group{
		// Pools are for planning.
		{Name: "snatwatch-pool", Interval: quarter, Apart: true, Records: records.Pool(o.Options)},
		{Name: "snatwatch-node", Interval: half, Records: records.Of(o.Options, records.NodeFill)},
		// Often, so that keep_firing_for bridges the time from one evaluation to the next.
		{Name: "snatwatch-node-scarce", Interval: often, Records: records.Of(o.Options, records.NodeScarce)},
		{
			Name: "snatwatch-node-slow", Interval: quarter,
			Records: records.Of(o.Options, records.NodeHeld, records.NodeOpened),
		},
		{
			Name: "snatwatch-gateway-seldom", Interval: records.SeldomInterval(o.Options), Apart: true,
			Records: records.Seldom(o.Options),
		},
		{
			Name: "snatwatch-gateway-far", Interval: records.FarInterval(o.Options), Apart: true,
			Records: records.Far(o.Options),
		},
		{Name: "snatwatch-gateway-quarter", Interval: quarter, Records: records.Quarter(o.Options)},
		{Name: "snatwatch-gateway-half", Interval: half, Records: records.Half(o.Options)},
		{Name: "snatwatch-gateway", Interval: often, Records: records.Page(o.Options)},
		{Name: "snatwatch-gateway-ahead", Interval: half, Records: records.Ahead(o.Options)},
		{Name: "snatwatch-gateway-probability", Interval: half, Records: records.Probability(o.Options)},
		{Name: "snatwatch-fleet-pages", Interval: often, Alerts: pages.Fleet(o.Options)},
		{Name: "snatwatch-pages", Interval: o.PageInterval, Alerts: pages.Node(o.Options)},
		{Name: "snatwatch-tickets", Interval: half, Alerts: soon},
		{Name: "snatwatch-tickets-slow", Interval: quarter, Alerts: slow},
	}
}

// slowFor is how long an alert must last before it fires for its rule to be evaluated half as often as other tickets.
const slowFor = 10 * time.Minute
