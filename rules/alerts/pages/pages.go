// Package pages holds the alerts that wake somebody, one a file.
package pages

import (
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
)

// All returns every page once.
func All(o options.Options) []alerts.Alert {
	return []alerts.Alert{
		exhaustionPredicted(o),
		portsExhausted(o),
		gatewayExhaustionPredicted(o),
		gatewayTotalFilling(o),
		conntrackFull(o),
		allowanceExceeded(o),
	}
}

// Fleet returns the pages that read what all nodes behind a gateway tell, or much of each node: SnatPortsExhausted
// is among them once more for each way to see it that takes more than All reads.
func Fleet(o options.Options) []alerts.Alert {
	return []alerts.Alert{
		gatewayExhaustionPredicted(o), portsExhaustedUnsure(o), portsExhaustedShared(o),
		gatewayTotalFilling(o), conntrackFull(o),
		allowanceExceeded(o),
	}
}

// Node returns the pages that read little of one node each.
func Node(o options.Options) []alerts.Alert {
	return []alerts.Alert{exhaustionPredicted(o), portsExhausted(o)}
}
