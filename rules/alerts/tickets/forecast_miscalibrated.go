package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// forecastMiscalibrated: a Brier score above 0.25 is worse than always saying one half.
func forecastMiscalibrated(o options.Options) alerts.Alert {
	return alerts.Alert{
		Name:     "SnatForecastMiscalibrated",
		Severity: o.Info,
		Expr: o.WithBudget(fmt.Sprintf("max by (%s) (%s) > %s", o.Agent(metrics.LabelBudget, metrics.LabelHorizon),
			o.Metric(metrics.ForecastBrierScore), query.Number(o.Thresholds.Brier))),
		For:     time.Hour,
		Summary: "The forecast's past probabilities did not come true.",
		Description: "On {{ $labels.instance }}, probabilities for budget {{ $labels.budget }} at {{ $labels.horizon }} " +
			"have a Brier score of {{ $value | printf `%.2f` }}: worse than a coin. " +
			"A wrong cool-down in the config does that, and so do bursts that come without a warning: is the budget " +
			"contradicted, too?",
		Board: alerts.BoardAgent, Panel: alerts.PanelAgentBrier,
	}
}
