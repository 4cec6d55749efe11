package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// agentDown: a target that was an agent in the last hour is still a target and does
// not answer. It holds itself up by its own state for as long as it does not, and over an hour in which
// Prometheus was off. A node that was taken away is no target any more and raises nothing.
func (o Options) agentDown() Alert {
	by := o.agent()
	up := o.series("up")
	was := fmt.Sprintf("present_over_time(%s[1h])", o.m(metrics.AgentBuildInfo))
	if o.inline {
		// Grafana writes no ALERTS: moments of a day tell who was an agent, at little cost.
		for _, ago := range []string{"3h", "9h", "1d"} {
			was += "\nor\n" + o.m(metrics.AgentBuildInfo) + " offset " + ago
		}
		was = "(\n" + indent(was) + "\n)"
	} else {
		was = "(\n" + indent(was+"\nor on ("+by+")\npresent_over_time(ALERTS{alertname=\"SnatAgentDown\"}[1h])") + "\n)"
	}
	expr := fmt.Sprintf("%s == 0\nand on (%s)\n%s", up, by, was)
	return Alert{
		Name:        "SnatAgentDown",
		Severity:    o.Warning,
		Expr:        expr,
		For:         10 * time.Minute,
		Summary:     "An agent is down: nothing watches SNAT ports there.",
		Description: "The agent on {{ $labels.instance }} has not answered a scrape for ten minutes.",
		Board:       BoardAgent, Panel: PanelAgentExact,
	}
}
