package web

import (
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// State is what every reader outside the ledger's goroutine sees. Nobody changes it once it is published.
type State struct {
	View *metrics.View
	// Ready: the agent has taken a complete dump.
	Ready bool
	// Notices say what the agent cannot see, why, and how to change that.
	Notices []string
	Budgets []*budget.Budget
}
