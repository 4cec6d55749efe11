package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// natRulesUnread: rules of this machine translate flows in a way that the agent does not read, so the ports they give are in
// no budget.
func (o Options) natRulesUnread() Alert {
	return Alert{
		Name:          "SnatNatRulesUnread",
		Severity:      o.Warning,
		Expr:          fmt.Sprintf("max by (%s) (%s) > 0", o.agent(), o.m(metrics.NATRuleCount, `state="not_read"`)),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "Some NAT rules of a node are not understood: their ports are in no budget.",
		Description: "On {{ $labels.instance }}, {{ $value | " + whole + " }} NAT rules translate flows in a way that the agent does not read: " +
			"what they give is in no budget, and no page for it can be raised. snatwatch check lists them.",
		Board: BoardAgent, Panel: PanelAgentExact,
	}
}
