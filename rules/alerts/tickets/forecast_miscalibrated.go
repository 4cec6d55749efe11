package tickets

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/query"
)

// forecastMiscalibrated: a Brier score above 0.25 is worse than always saying one half. Bursts that come again and
// again without a warning raise it under a budget that is right: the ticket tells that cause from a wrong config.
func forecastMiscalibrated(o options.Options) alerts.Alert {
	budget := alerts.About(o.Agent(metrics.LabelBudget))
	contradicted := budget.Of(metrics.BudgetContradicted)
	return alerts.Alert{
		Name:     "SnatForecastMiscalibrated",
		Severity: o.Info,
		Expr: o.WithBudget(fmt.Sprintf("max by (%s) (%s) > %s", o.Agent(metrics.LabelBudget, metrics.LabelHorizon),
			o.Metric(metrics.ForecastBrierScore), query.Number(o.Thresholds.Brier))),
		For:     time.Hour,
		Summary: "The forecast's past probabilities did not come true.",
		Description: "On {{ $labels.instance }}, probabilities for budget {{ $labels.budget }} at {{ $labels.horizon }} " +
			"have a Brier score of {{ $value | printf `%.2f` }}: worse than a coin. " +
			"A wrong budget or cool-down in the config does that, and then the budget is contradicted; so do bursts that " +
			"come without a warning, and then nothing in the config is wrong.",
		Detail: budget.Ask(contradicted+" == 1", " This budget is contradicted.") +
			budget.Ask(contradicted+" == 0", " This budget is not contradicted.") + alerts.Helps,
		Board: alerts.BoardAgent, Panel: alerts.PanelAgentBrier,
	}
}
