package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// portsExhausted is the page for what is failing now: opens fail and their port
// space is at its ceiling. Three sensors can tell of the failure: flows that
// stayed unanswered at the ceiling, sockets that send their first packet again, and,
// where this machine does the translating, the kernel's insert_failed.
func (o Options) portsExhausted() Alert {
	agent := o.agent()
	failing := fmt.Sprintf("sum by (%s) (increase(%s[2m])) > 0", o.agent(metrics.LabelBudget, metrics.LabelProtocol), o.m(metrics.OpenFailures, `cause="`+metrics.CausePorts+`"`))
	full := o.m(metrics.BusiestPortsHeld) + " >= " + o.m(metrics.BudgetEffectivePorts)
	stalled := fmt.Sprintf("(%s)\nand\n%s > 0", full, o.m(metrics.OpeningStalled))
	dropped := fmt.Sprintf("(%s)\nand on (%s)\nsum by (%s) (increase(%s[2m])) > 0", full, agent, agent, o.m(metrics.ConntrackInsertFailed))
	return Alert{
		Name:          "SnatPortsExhausted",
		Severity:      o.Critical,
		Expr:          o.withBudget(fmt.Sprintf("max by (%s) (\n%s\n)", o.agent(metrics.LabelBudget, metrics.LabelProtocol), indent("0 * ("+failing+") + 1\nor\n0 * ("+stalled+") + 1\nor\n0 * ("+dropped+") + 1"))),
		KeepFiringFor: time.Minute,
		Summary:       "SNAT ports are exhausted and connections fail.",
		Description: "On {{ $labels.instance }}, new {{ $labels.protocol }} flows fail because budget {{ $labels.budget }} ({{ $labels.model }}) has no SNAT port left " +
			"for the destination that holds the most. Established flows go on.",
		Board: BoardNode, Panel: PanelNodeHeld,
	}
}
