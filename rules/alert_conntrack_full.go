package rules

import (
	"fmt"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// conntrackFull is a page: the kernel drops packets for want of an entry, or gives up entries before their time to
// make room for new ones, while the table is nearly full. Both counters also move for other reasons at a table with room. One
// that is all but full needs no counter, which may not be readable.
func (o Options) conntrackFull() Alert {
	by := o.agent(metrics.LabelNetns)
	node := about(by)
	over := func(fill string) string {
		return fmt.Sprintf("%s / %s > %s", o.m(metrics.ConntrackEntries), o.m(metrics.ConntrackEntriesLimit), fill)
	}
	return Alert{
		Name:     "SnatConntrackTableFull",
		Severity: o.Critical,
		Expr: fmt.Sprintf("max by (%s) (%s)\nand on (%s)\n(%s or %s)\nor\nmax by (%s) (%s)", by, over(number(o.Thresholds.ConntrackTable)), by,
			grew(o.m(metrics.ConntrackDrop), "2m"), grew(o.m(metrics.ConntrackEarlyDrop), "2m"), by, over("0.99")),
		KeepFiringFor: bridge,
		Summary:       "The conntrack table is full and new connections are dropped.",
		Description: "On {{ $labels.instance }}, the conntrack table of network namespace {{ $labels.netns }} is {{ $value | humanizePercentage }} full and the kernel drops packets of new flows, whatever their destination. " +
			"SNAT ports may be left: more of them do not help. What the node sees: http://{{ $labels.instance }}/.",
		Detail: node.ask(increased(node.of(metrics.ConntrackDrop), "2m"), " "+answer(whole)+" packets were dropped in two minutes.") +
			node.ask(increased(node.of(metrics.ConntrackEarlyDrop), "2m"), " "+answer(whole)+" entries were given up before their time in two minutes."),
		Board: BoardNode, Panel: PanelNodeFailures,
	}
}
