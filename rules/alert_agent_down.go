package rules

import (
	"fmt"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// agentDown: a target that was an agent in the last hour is still a target and does
// not answer. A node that was taken away is no target any more and raises nothing.
func (o Options) agentDown() Alert {
	by := o.agent()
	up := "up"
	if o.Selector != "" {
		up = "up{" + strings.TrimSpace(o.Selector) + "}"
	}
	return Alert{
		Name:        "SnatAgentDown",
		Severity:    o.Warning,
		Expr:        fmt.Sprintf("%s == 0\nand on (%s)\npresent_over_time(%s[1h])", up, by, o.m(metrics.AgentBuildInfo)),
		For:         10 * time.Minute,
		Summary:     "An agent is down: nothing watches SNAT ports there.",
		Description: "The agent on {{ $labels.instance }} has not answered a scrape for ten minutes.",
		Board:       BoardAgent, Panel: PanelAgentExact,
	}
}
