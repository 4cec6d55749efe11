package tickets

import (
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
)

// budgetContradicted: what is seen cannot be under this budget, so neither fill nor
// forecast can be trusted until the config is right.
func budgetContradicted(o options.Options) alerts.Alert {
	return alerts.Alert{
		Name:          "SnatBudgetContradicted",
		Severity:      o.Warning,
		Expr:          o.WithBudget(o.Metric(metrics.BudgetContradicted) + " == 1"),
		For:           2 * time.Minute,
		KeepFiringFor: 10 * time.Minute,
		Summary:       "The configured SNAT budget cannot be right.",
		Description: "On {{ $labels.instance }}, flows do what budget {{ $labels.budget }} ({{ $labels.model }}) does not " +
			"allow: its ports or its cool-down are wrong, and so is the forecast. " +
			"http://{{ $labels.instance }}/ says what was seen.",
		Board: alerts.BoardNode, Panel: alerts.PanelNodeTier,
	}
}
