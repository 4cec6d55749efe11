package rules

import (
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// budgetContradicted: what is seen cannot be under this budget, so neither fill nor
// forecast can be trusted until the config is right.
func (o Options) budgetContradicted() Alert {
	return Alert{
		Name:          "SnatBudgetContradicted",
		Severity:      o.Warning,
		Expr:          o.withBudget(o.m(metrics.BudgetContradicted) + " == 1"),
		For:           2 * time.Minute,
		KeepFiringFor: 10 * time.Minute,
		Summary:       "The configured SNAT budget cannot be right.",
		Description: "On {{ $labels.instance }}, flows behave as no budget {{ $labels.budget }} ({{ $labels.model }}) would let them: its ports or its cool-down are wrong, and with them the forecast. " +
			"http://{{ $labels.instance }}/ says what was seen.",
		Board: BoardNode, Panel: PanelNodeTier,
	}
}
