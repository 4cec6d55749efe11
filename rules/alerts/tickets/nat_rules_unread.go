package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
)

// natRulesUnread: rules of this machine translate flows in a way that the agent does not read, so the ports they give
// are in no budget.
func natRulesUnread(o options.Options) alerts.Alert {
	return alerts.Alert{
		Name:          "SnatNatRulesUnread",
		Severity:      o.Warning,
		Expr:          fmt.Sprintf("max by (%s) (%s) > 0", o.Agent(), o.Metric(metrics.NATRuleCount, `state="not_read"`)),
		For:           10 * time.Minute,
		KeepFiringFor: 5 * time.Minute,
		Summary:       "Some NAT rules of a node are not understood: their ports are in no budget.",
		Description: "On {{ $labels.instance }}, {{ $value | " + alerts.Whole +
			" }} NAT rules translate flows in a way that the agent does not read: " +
			"what they give is in no budget, and no page for it can be raised. snatwatch check lists them.",
		Board: alerts.BoardAgent, Panel: alerts.PanelAgentExact,
	}
}
