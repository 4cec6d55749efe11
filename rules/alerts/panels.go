package alerts

// The uids of the boards and the ids of the panels that alerts link to; dashboards
// gives its panels these ids.
const (
	BoardNode  = "snatwatch-node"
	BoardFleet = "snatwatch-fleet"
	BoardAgent = "snatwatch-agent"

	PanelNodeHeld        = 101
	PanelNodeProbability = 102
	PanelNodeHoldTimes   = 103
	PanelNodeFailures    = 104
	PanelNodeTier        = 105
	PanelNodeClosed      = 106
	PanelNodeAllowance   = 107
	PanelFleetGateway    = 201
	PanelFleetTiers      = 202
	PanelFleetTotal      = 203
	PanelAgentExact      = 301
	PanelAgentBrier      = 302
)
