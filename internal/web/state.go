package web

import (
	"time"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// staleAfter is the age of the snapshot from which on the loop counts as hanging. The loop makes a snapshot every
// second, and a batch of events takes milliseconds.
const staleAfter = 30 * time.Second

// State is what every reader outside the ledger's goroutine sees. Nobody changes it once it is published.
type State struct {
	View *metrics.View
	// Ready: the agent has taken a complete dump.
	Ready bool
	// Notices say what the agent cannot see, why, and how to change that.
	Notices []string
	Budgets []*budget.Budget
	// Cloud is where the machine is, nil where no cloud tells.
	Cloud *Cloud
}

// Cloud is where a machine is, as its cloud's metadata say; what they do not tell is empty.
type Cloud struct {
	Provider string `json:"provider"`
	Region   string `json:"region,omitempty"`
	Zone     string `json:"zone,omitempty"`
	Instance string `json:"instance,omitempty"`
}
