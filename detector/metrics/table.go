package metrics

// Type is the type of a metric.
type Type string

// The types that the table uses.
const (
	Gauge     Type = "gauge"
	Counter   Type = "counter"
	Histogram Type = "histogram"
)

// Metric is one row of the table.
type Metric struct {
	Name   Name
	Type   Type
	Labels []Label
	Help   string
}

// Metrics returns the table: every metric of the agent but those of the Go
// runtime and the process.
func Metrics() []Metric {
	var (
		budget   = []Label{LabelBudget}
		protocol = []Label{LabelBudget, LabelProtocol}
		space    = []Label{LabelBudget, LabelGateway, LabelProtocol, LabelVIP, LabelDestination}
		ahead    = []Label{LabelBudget, LabelGateway, LabelProtocol, LabelVIP, LabelDestination, LabelHorizon}
		total    = []Label{LabelBudget, LabelProtocol, LabelHorizon}
		held     = []Label{LabelBudget, LabelGateway, LabelProtocol, LabelVIP, LabelDestination, LabelOwnerKind, LabelOwner, LabelOwnerInner}
		owner    = []Label{LabelBudget, LabelProtocol, LabelOwnerKind, LabelOwner}
		netns    = []Label{LabelNetns}
		source   = []Label{LabelNetns, LabelSource}
	)
	return []Metric{
		{
			BudgetInfo, Gauge,
			[]Label{LabelBudget, LabelModel, LabelScope, LabelPool, LabelGateway, LabelAssumed},
			"A budget, its model and whose ports it counts; always 1. Budgets of scope shared are combined with max over nodes, never summed.",
		},
		{BudgetPorts, Gauge, protocol, "Ports that this node may hold in one port space."},
		{BudgetAllPorts, Gauge, protocol, "Ports that all port spaces of the budget may hold together: what to compare snat_all_ports_held with. Absent where only each port space has a limit."},
		{BudgetEffectivePorts, Gauge, protocol, "Effective ceiling of a port space: held ports at which 1 % of first packets are lost."},
		{BudgetContradicted, Gauge, budget, "1 if what is seen cannot be under this budget, so that the budget or its cool-down is wrong."},
		{PoolNodes, Gauge, budget, "Nodes in the VM pool that shares the VIPs."},
		{PoolNodesToNextTier, Gauge, budget, "Nodes that can be added before each node's budget shrinks to snat_next_tier_ports."},
		{NextTierPorts, Gauge, budget, "TCP budget of each node once the pool has grown past the edge of its tier."},
		{VIPs, Gauge, budget, "Public addresses that SNAT puts on flows of this budget."},
		{PoolStale, Gauge, budget, "1 if the watched pool size or VIPs could not be read or used, so that the last good ones stand."},

		{PortsHeld, Gauge, space, "Ports held, live and cooling, in a port space; destination \"other\" sums the spaces not exported."},
		{PortsLive, Gauge, space, "Ports held by flows that have not ended."},
		{PortsCooling, Gauge, space, "Ports held by flows that ended less than a cool-down ago."},
		{AllPortsHeld, Gauge, protocol, "Ports held in all port spaces together. Compare it with snat_budget_all_ports where there is one, and never with snat_budget_ports."},
		{BusiestPortsHeld, Gauge, protocol, "The most ports held in one port space."},
		{LowPortsFill, Gauge, space, "Of a port space of source ports below 1024, which has fewer ports than snat_budget_ports: what it holds as a share of its own effective ceiling. Absent of all others, whose fill is what they hold over snat_budget_effective_ports."},
		{DominantPortsHeld, Gauge, space, "snat_ports_held of the port space that holds more than half of all, absent where none does: what alerts read."},
		{ExcessPortsHeld, Gauge, space, "Of a shared budget, what snat_ports_held is above this node's share of a quarter of the effective ceiling: by snat_pool_nodes, a thousandth where they are not told. Absent where it is not above: what rules read often, as few port spaces have it."},
		{DestinationsTracked, Gauge, protocol, "Port spaces that the ledger counts one by one."},
		{DestinationsFolded, Gauge, protocol, "Port spaces beyond the limit, counted together."},
		{FoldedPortsHeldMax, Gauge, protocol, "Ports held in the fullest port space that destination \"other\" sums: what a sum over nodes can miss of one destination."},

		{OwnerPortsHeld, Gauge, held, "Ports that an owner holds in an exported port space: pod (owner_container is the container in it, empty where unknown), container, unit, process or client. Owner \"other\" sums those that are not among the largest, \"unknown\" the flows whose owner nobody knows; the sum over owners is snat_ports_held."},
		{OwnerFlowsOpened, Counter, owner, "Flows that an owner opened since the agent started, of the owners that snat_owner_ports_held names."},
		{OwnerLifetimeSeconds, Gauge, owner, "Mean lifetime of the latest flows of an owner that ended; absent where none did."},
		{OwnerInfo, Gauge, []Label{LabelOwnerKind, LabelOwner, LabelWorkload, LabelWorkKind}, "The workload that a pod belongs to; always 1. Absent where Kubernetes does not tell."},
		{SoonestOwnerHeld, Gauge, held, "snat_owner_ports_held of the owner that holds the most of the port space of snat_soonest_exhaustion_seconds: what boards read, at most one for each budget and protocol. Absent where no owner there is known."},

		{FlowsOpened, Counter, protocol, "Flows opened since the agent started."},
		{FlowsClosed, Counter, []Label{LabelBudget, LabelProtocol, LabelReason}, "Flows ended since the agent started, by reason."},
		{HoldSeconds, Histogram, protocol, "How long a port was held: lifetime and cool-down."},
		{LifetimeSeconds, Histogram, protocol, "How long a flow lived: open to close."},

		{ForecastPortsMean, Gauge, ahead, "Forecast of held ports at the horizon: mean."},
		{ForecastPortsVariance, Gauge, ahead, "Forecast of held ports at the horizon: variance."},
		{ExcessForecastPortsMean, Gauge, ahead, "snat_excess_ports_held of snat_forecast_ports_mean."},
		{ExhaustionProbability, Gauge, ahead, "Probability that the effective ceiling of the port space is reached by the horizon."},
		{TimeToExhaustion, Gauge, space, "Median time until the effective ceiling is reached; 0 when exhausted, +Inf beyond the longest horizon."},
		{SoonestExhaustion, Gauge, space, "snat_time_to_exhaustion_seconds of the port space that runs out first, of the fullest where none does: what boards read, one for each budget and protocol."},
		{LikelyExhaustion, Gauge, ahead, "snat_exhaustion_probability where it is 0.05 or more, absent where it is less: what alerts read, as few port spaces have it."},
		{PageUrgency, Gauge, ahead, "How urgent a page is, from 0 to 1, of horizon 5m; 0.5 raises it. snat_likely_exhaustion_probability, less where there is time to look again, more where lifetimes surely grew; absent where that one is absent."},
		{AllForecastPortsMean, Gauge, total, "Forecast of the ports held in all port spaces together: mean."},
		{AllForecastPortsVariance, Gauge, total, "Forecast of the ports held in all port spaces together: variance, if destinations are independent."},
		{ExhaustionProbabilityMax, Gauge, total, "Highest snat_exhaustion_probability over all port spaces."},
		{ForecastBrierScore, Gauge, []Label{LabelBudget, LabelHorizon}, "Mean squared error of the agent's own past probabilities; 0 is perfect. Absent until one has come due."},

		{AdvicePorts, Gauge, []Label{LabelBudget, LabelMeasure}, "Ports that a measure would add to each port space of a budget that is near its end; absent where none is near."},

		{
			OpenFailures, Counter,
			[]Label{LabelBudget, LabelProtocol, LabelCause},
			"TCP flows that did not open: unanswered, refused, or ports (no local port, no entry of this machine's NAT, or unanswered at the effective ceiling of a NAT further out; where this machine translates flows of others, first packets that its kernel dropped at the ceiling). A cause without a working sensor is absent.",
		},
		{OpeningStalled, Gauge, protocol, "TCP flows whose first packet went unanswered and was sent again."},
		{StalledAtCeiling, Gauge, protocol, "TCP flows whose first packet went unanswered and was sent again, towards a port space at its effective ceiling. Absent where flows leave with several VIPs that are a port space each: a socket does not know its own."},

		{ConntrackInsertFailed, Counter, netns, "Kernel counter insert_failed: new flows that conntrack could not insert, a lack of ports among the causes."},
		{ConntrackDrop, Counter, netns, "Kernel counter drop: packets dropped for want of a conntrack entry."},
		{ConntrackEarlyDrop, Counter, netns, "Kernel counter early_drop: entries given up before their time to make room in a full conntrack table."},
		{ConntrackFound, Counter, netns, "Kernel counter found: tuples tried by port selection that were taken."},
		{ConntrackEntries, Gauge, netns, "Entries in the conntrack table."},
		{ConntrackEntriesLimit, Gauge, netns, "Entries that the conntrack table may hold."},
		{ConntrackTimeToFull, Gauge, netns, "When snat_conntrack_entries reach their limit at the pace of the last two minutes; 0 when they have, +Inf beyond an hour."},

		{AllowanceAvailable, Gauge, []Label{LabelInterface}, "Connections that EC2 can still track for an interface of this instance, whatever its NAT; absent where the driver does not tell."},
		{AllowanceTimeToExhaustion, Gauge, []Label{LabelInterface}, "When snat_conntrack_allowance_available comes to 0 at the pace of the last six minutes; 0 when it has, +Inf beyond an hour."},
		{AllowanceExceeded, Counter, []Label{LabelInterface}, "Packets of new connections that EC2 dropped because it tracks no more for the interface."},

		{SourceInfo, Gauge, []Label{LabelNetns, LabelSource, LabelStrategy}, "Where flows of a network namespace are seen; always 1."},
		{LedgerExact, Gauge, netns, "1 if the last complete dump agreed with the ledger, and nothing says that flows opened and ended unseen."},
		{LedgerFlows, Gauge, netns, "Flows in the ledger, ended ones that still cool down included."},
		{OtherProtocols, Gauge, netns, "Flows that are neither TCP nor UDP; they hold no port of a budget."},
		{EventsLost, Counter, netns, "Overruns: times the kernel dropped events. Each hides an unknown number."},
		{LedgerMismatches, Counter, netns, "Flows that a complete dump showed and the ledger did not have, or had in another state, and flows that no event told of: the ledger's check of itself."},
		{Resyncs, Counter, netns, "Complete dumps that made the ledger exact again after an overrun."},
		{DecodeErrors, Counter, source, "Kernel messages that could not be decoded and were skipped."},
		{DumpSeconds, Gauge, source, "How long the last complete dump took."},
		{SnapshotTimestamp, Gauge, nil, "When the snapshot behind these metrics was taken."},
		{SnapshotAge, Gauge, nil, "How old the snapshot behind these metrics was when it was scraped, by a clock that nobody sets."},
		{WarmingUp, Gauge, nil, "1 until one cool-down has passed since the first complete dump: ports closed before may be held unseen."},
		{CPUBudgetExceeded, Gauge, nil, "1 if the agent took more CPU than its budget in the last minute, or needs more to stay exact."},

		{NATRuleCount, Gauge, []Label{LabelState}, "Rules of this machine that change the source of flows: read, not_read (not understood, so that their flows are in no budget), shadowed (rules before them take all flows). Absent where rules cannot be read."},

		{ConfigReloadSuccess, Gauge, nil, "1 if the last load of the config worked, 0 if it was refused and the one before stands."},
		{ConfigReloadTimestamp, Gauge, nil, "When a config was last loaded."},
		{AgentBuildInfo, Gauge, []Label{LabelVersion, LabelRevision, LabelGoVersion}, "The agent's build; always 1."},
	}
}
