package pages

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// conntrackFull is a page: the kernel drops packets for want of an entry, or gives up entries before their time to make
// room for new ones, while the table is nearly full. Both counters also move for other reasons at a table with room.
// One that is all but full needs no counter, which may not be readable. Nor does one that is nearly full and fills up
// within five minutes: once it is full, a scrape over the machine's own address may get no answer any more.
func conntrackFull(o options.Options) alerts.Alert {
	by := o.Agent(metrics.LabelNetns)
	node := alerts.About(by)
	fill := fmt.Sprintf("%s / %s", o.Metric(metrics.ConntrackEntries), o.Metric(metrics.ConntrackEntriesLimit))
	return alerts.Alert{
		Name:     "SnatConntrackTableFull",
		Severity: o.Critical,
		// The fill is written once, beside what it must pass: each time costs two series of each node.
		Expr: fmt.Sprintf("max by (%s) (%s)\n> on (%s) (\n  %s + 0 * max by (%s) (%s or %s or %s < 300)\n  or\n  "+
			"0.99 + 0 * max by (%s) (%s)\n)", by, fill, by,
			query.Number(o.Thresholds.ConntrackTable), by,
			query.Grew(o.Metric(metrics.ConntrackDrop), "2m"), query.Grew(o.Metric(metrics.ConntrackEarlyDrop), "2m"),
			o.Metric(metrics.ConntrackTimeToFull), by, o.Metric(metrics.ConntrackEntriesLimit)),
		KeepFiringFor: alerts.Bridge,
		Summary:       "The conntrack table is full, or will be within minutes: new connections are dropped.",
		Description: "On {{ $labels.instance }}, the conntrack table of network namespace {{ $labels.netns }} is {{ $value " +
			"| humanizePercentage }} full and the kernel drops packets of new flows, whatever their destination, or is about " +
			"to. SNAT ports may be left: more of them do not help. What the node sees: http://{{ $labels.instance }}/.",
		Detail: node.Ask(query.Increased(node.Of(metrics.ConntrackDrop), "2m"),
			" "+alerts.Answer(alerts.Whole)+" packets were dropped in two minutes.") +
			node.Ask(query.Increased(node.Of(metrics.ConntrackEarlyDrop), "2m"),
				" "+alerts.Answer(alerts.Whole)+" entries were given up before their time in two minutes."),
		Board: alerts.BoardNode, Panel: alerts.PanelNodeFailures,
	}
}
