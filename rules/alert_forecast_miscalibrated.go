package rules

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// forecastMiscalibrated: a Brier score above 0.25 is worse than always saying one half.
func (o Options) forecastMiscalibrated() Alert {
	return Alert{
		Name:     "SnatForecastMiscalibrated",
		Severity: o.Info,
		Expr:     o.withBudget(fmt.Sprintf("max by (%s) (%s) > %s", o.agent(metrics.LabelBudget, metrics.LabelHorizon), o.m(metrics.ForecastBrierScore), number(o.Thresholds.Brier))),
		For:      time.Hour,
		Summary:  "The forecast's past probabilities did not come true.",
		Description: "On {{ $labels.instance }}, probabilities for budget {{ $labels.budget }} at {{ $labels.horizon }} have a Brier score of {{ $value | printf `%.2f` }}: worse than a coin. " +
			"A wrong cool-down in the config does that, and so do bursts that come without a warning: is the budget contradicted, too?",
		Board: BoardAgent, Panel: PanelAgentBrier,
	}
}
