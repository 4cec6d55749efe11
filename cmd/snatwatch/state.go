package main

import (
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// state is what every reader outside the ledger's goroutine sees. It is immutable
// once it has been published.
type state struct {
	view *metrics.View
	// ready: a complete dump has been taken.
	ready bool
	// notices say what the agent cannot see, why, and how to give it that.
	notices []string
	budgets []*detector.Budget
}
