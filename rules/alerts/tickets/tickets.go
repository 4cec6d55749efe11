// Package tickets holds the alerts that can wait for a minute: tickets and notes, one a file.
package tickets

import (
	"github.com/snatwatch/snatwatch/rules/alerts"
	"github.com/snatwatch/snatwatch/rules/options"
)

// All returns every ticket and note.
func All(o options.Options) []alerts.Alert {
	return []alerts.Alert{
		exhaustionExpected(o),
		openFailures(o),
		insertFailed(o),
		conntrackFilling(o),
		poolNearTierEdge(o),
		portsLeaking(o),
		destinationDominates(o),
		idleExpiredFlows(o),
		budgetChanged(o),
		budgetContradicted(o),
		budgetUnseen(o),
		natRulesUnread(o),
		agentBlind(o),
		agentDown(o),
		agentsAbsent(o),
		forecastMiscalibrated(o),
	}
}
