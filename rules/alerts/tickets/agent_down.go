package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// agentDown: a target that was an agent in the last hour is still a target and does
// not answer. It holds itself up by its own state for as long as it does not, and over an hour in which
// Prometheus was off. A node that was taken away is no target any more and raises nothing.
func agentDown(o options.Options) alerts.Alert {
	by := o.Agent()
	up := o.Series("up")
	was := fmt.Sprintf("present_over_time(%s[1h])", o.Metric(metrics.AgentBuildInfo))
	if o.Inline {
		// Grafana writes no ALERTS: moments of a day tell who was an agent, at little cost.
		for _, ago := range []string{"3h", "9h", "1d"} {
			was += "\nor\n" + o.Metric(metrics.AgentBuildInfo) + " offset " + ago
		}
		was = "(\n" + query.Indent(was) + "\n)"
	} else {
		was = "(\n" + query.Indent(was+"\nor on ("+by+")\npresent_over_time(ALERTS{alertname=\"SnatAgentDown\"}[1h])") + "\n)"
	}
	expr := fmt.Sprintf("%s == 0\nand on (%s)\n%s", up, by, was)
	return alerts.Alert{
		Name:        "SnatAgentDown",
		Severity:    o.Warning,
		Expr:        expr,
		For:         10 * time.Minute,
		Summary:     "An agent is down: nothing watches SNAT ports there.",
		Description: "The agent on {{ $labels.instance }} has not answered a scrape for ten minutes.",
		Board:       alerts.BoardAgent, Panel: alerts.PanelAgentExact,
	}
}
