package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
)

// agentsAbsent: agents were scraped in the last hour and now there is none, not even as a target that does not
// answer: a job that was renamed, a DaemonSet that was deleted. Then no other alert of ours can fire. It ends
// when that hour is over, so that a cluster without agents on purpose raises it once.
func agentsAbsent(o options.Options) alerts.Alert {
	by := o.Labels()
	return alerts.Alert{
		Name:     "SnatAgentsAbsent",
		Severity: o.Warning,
		Expr: fmt.Sprintf("max by (%s) (present_over_time(%s[1h]))\nunless on (%s)\nmax by (%s) (%s)",
			by, o.Metric(metrics.AgentBuildInfo), by, by, o.Metric(metrics.AgentBuildInfo)),
		For:     10 * time.Minute,
		Summary: "No agent is left: nothing watches SNAT ports.",
		Description: "No agent has answered a scrape for ten minutes{{ if $labels." + o.ClusterLabel +
			" }} in cluster {{ $labels." + o.ClusterLabel + " }}{{ end }}, though some did within the hour: " +
			"nothing watches SNAT ports there, and no page can be raised.",
		Board: alerts.BoardAgent, Panel: alerts.PanelAgentExact,
	}
}
