package web

import (
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// State is what every reader outside the ledger's goroutine sees. It is immutable
// once it has been published.
type State struct {
	View *metrics.View
	// Ready: a complete dump has been taken.
	Ready bool
	// Notices say what the agent cannot see, why, and how to give it that.
	Notices []string
	Budgets []*budget.Budget
}
