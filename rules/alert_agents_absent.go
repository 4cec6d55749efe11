package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// agentsAbsent: agents were scraped in the last hour and now there is none, not even as a target that does not
// answer: a job that was renamed, a DaemonSet that was deleted. Then no other alert of ours can fire. It ends
// when that hour is over, so that a cluster without agents on purpose raises it once.
func (o Options) agentsAbsent() Alert {
	by := o.labels()
	return Alert{
		Name:     "SnatAgentsAbsent",
		Severity: o.Warning,
		Expr: fmt.Sprintf("max by (%s) (present_over_time(%s[1h]))\nunless on (%s)\nmax by (%s) (%s)",
			by, o.m(metrics.AgentBuildInfo), by, by, o.m(metrics.AgentBuildInfo)),
		For:     10 * time.Minute,
		Summary: "No agent is left: nothing watches SNAT ports.",
		Description: "No agent has answered a scrape for ten minutes{{ if $labels." + o.ClusterLabel + " }} in cluster {{ $labels." + o.ClusterLabel + " }}{{ end }}, though some did within the hour: " +
			"nothing watches SNAT ports there, and no page can be raised.",
		Board: BoardAgent, Panel: PanelAgentExact,
	}
}
