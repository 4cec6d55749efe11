package metrics

// Type is the type of a metric.
type Type string

// The types that the table uses.
const (
	Gauge     Type = "gauge"
	Counter   Type = "counter"
	Histogram Type = "histogram"
)

// Unit is what a metric counts.
type Unit string

// The units: base units of Prometheus, or the thing counted.
const (
	UnitNone      Unit = "" // a flag or an info metric: 0 or 1
	UnitPorts     Unit = "ports"
	UnitVariance  Unit = "ports squared"
	UnitFlows     Unit = "flows"
	UnitNodes     Unit = "nodes"
	UnitVIPs      Unit = "VIPs"
	UnitSpaces    Unit = "port spaces"
	UnitSeconds   Unit = "seconds"
	UnitTimestamp Unit = "seconds since 1970"
	UnitRatio     Unit = "ratio" // 0 to 1
	UnitEntries   Unit = "entries"
	UnitPackets   Unit = "packets"
	UnitEvents    Unit = "events"
)

// Metric is one row of the table.
type Metric struct {
	Name   Name
	Type   Type
	Unit   Unit
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
		netns    = []Label{LabelNetns}
		source   = []Label{LabelNetns, LabelSource}
	)
	return []Metric{
		{
			BudgetInfo, Gauge, UnitNone,
			[]Label{LabelBudget, LabelModel, LabelScope, LabelPool, LabelGateway, LabelAssumed},
			"A budget, its model and whose ports it counts; always 1. Budgets of scope shared are combined with max over nodes, never summed.",
		},
		{BudgetPorts, Gauge, UnitPorts, protocol, "Ports that this node may hold in one port space."},
		{BudgetEffectivePorts, Gauge, UnitPorts, protocol, "Effective ceiling of a port space: held ports at which 1 % of first packets are lost."},
		{BudgetContradicted, Gauge, UnitNone, budget, "1 if what is seen cannot be under this budget, so that the budget or its cool-down is wrong."},
		{PoolNodes, Gauge, UnitNodes, budget, "Nodes in the VM pool that shares the VIPs."},
		{PoolNodesToNextTier, Gauge, UnitNodes, budget, "Nodes that can be added before each node's budget shrinks to snat_next_tier_ports."},
		{NextTierPorts, Gauge, UnitPorts, budget, "TCP budget of each node once the pool has grown past the edge of its tier."},
		{VIPs, Gauge, UnitVIPs, budget, "Public addresses that SNAT puts on flows of this budget."},
		{PoolStale, Gauge, UnitNone, budget, "1 if the watched pool size or VIPs could not be read or used, so that the last good ones stand."},

		{PortsHeld, Gauge, UnitPorts, space, "Ports held, live and cooling, in a port space; destination \"other\" sums the spaces not exported."},
		{PortsLive, Gauge, UnitPorts, space, "Ports held by flows that have not ended."},
		{PortsCooling, Gauge, UnitPorts, space, "Ports held by flows that ended less than a cool-down ago."},
		{AllPortsHeld, Gauge, UnitPorts, protocol, "Ports held in all port spaces together; never compared with a budget."},
		{BusiestPortsHeld, Gauge, UnitPorts, protocol, "Ports held in the fullest port space."},
		{DominantPortsHeld, Gauge, UnitPorts, space, "snat_ports_held of the port space that holds more than half of all, absent where none does: what alerts read."},
		{DestinationsTracked, Gauge, UnitSpaces, protocol, "Port spaces that the ledger counts one by one."},
		{DestinationsFolded, Gauge, UnitSpaces, protocol, "Port spaces beyond the limit, counted together."},
		{FoldedPortsHeldMax, Gauge, UnitPorts, protocol, "Ports held in the fullest port space that destination \"other\" sums: what a sum over nodes can miss of one destination."},

		{FlowsOpened, Counter, UnitFlows, protocol, "Flows opened since the agent started."},
		{FlowsClosed, Counter, UnitFlows, []Label{LabelBudget, LabelProtocol, LabelReason}, "Flows ended since the agent started, by reason."},
		{HoldSeconds, Histogram, UnitSeconds, protocol, "How long a port was held: lifetime and cool-down."},
		{LifetimeSeconds, Histogram, UnitSeconds, protocol, "How long a flow lived: open to close."},

		{ForecastPortsMean, Gauge, UnitPorts, ahead, "Forecast of held ports at the horizon: mean."},
		{ForecastPortsVariance, Gauge, UnitVariance, ahead, "Forecast of held ports at the horizon: variance."},
		{ExhaustionProbability, Gauge, UnitRatio, ahead, "Probability that the effective ceiling of the port space is reached by the horizon."},
		{TimeToExhaustion, Gauge, UnitSeconds, space, "Median time until the effective ceiling is reached; 0 when exhausted, +Inf beyond the longest horizon."},
		{LikelyExhaustion, Gauge, UnitRatio, ahead, "snat_exhaustion_probability where it is 0.05 or more, absent where it is less: what alerts read, as few port spaces have it."},
		{AllForecastPortsMean, Gauge, UnitPorts, total, "Forecast of the ports held in all port spaces together: mean."},
		{AllForecastPortsVariance, Gauge, UnitVariance, total, "Forecast of the ports held in all port spaces together: variance, if destinations are independent."},
		{ExhaustionProbabilityMax, Gauge, UnitRatio, total, "Highest snat_exhaustion_probability over all port spaces."},
		{ForecastBrierScore, Gauge, UnitRatio, []Label{LabelBudget, LabelHorizon}, "Mean squared error of the agent's own past probabilities; 0 is perfect. Absent until one has come due."},

		{
			OpenFailures, Counter, UnitFlows,
			[]Label{LabelBudget, LabelProtocol, LabelCause},
			"TCP flows that did not open: unanswered, refused, or ports (unanswered at the effective ceiling). A cause without a working sensor is absent.",
		},
		{OpeningStalled, Gauge, UnitFlows, protocol, "TCP flows whose first packet went unanswered and was sent again."},
		{StalledAtCeiling, Gauge, UnitFlows, protocol, "TCP flows whose first packet went unanswered and was sent again, towards a port space at its effective ceiling. Absent where a port space has a VIP of its own, which a socket does not know."},

		{ConntrackInsertFailed, Counter, UnitPackets, netns, "Kernel counter insert_failed: new flows that conntrack could not insert, a lack of ports among the causes."},
		{ConntrackDrop, Counter, UnitPackets, netns, "Kernel counter drop: packets dropped for want of a conntrack entry."},
		{ConntrackEarlyDrop, Counter, UnitEntries, netns, "Kernel counter early_drop: entries given up before their time to make room in a full conntrack table."},
		{ConntrackFound, Counter, UnitPackets, netns, "Kernel counter found: tuples tried by port selection that were taken."},
		{ConntrackEntries, Gauge, UnitEntries, netns, "Entries in the conntrack table."},
		{ConntrackEntriesLimit, Gauge, UnitEntries, netns, "Entries that the conntrack table may hold."},

		{SourceInfo, Gauge, UnitNone, []Label{LabelNetns, LabelSource, LabelStrategy}, "Where flows of a network namespace are seen; always 1."},
		{LedgerExact, Gauge, UnitNone, netns, "1 if a complete dump was taken since the kernel last dropped events."},
		{LedgerFlows, Gauge, UnitFlows, netns, "Flows in the ledger, ended ones that still cool down included."},
		{OtherProtocols, Gauge, UnitFlows, netns, "Flows that are neither TCP nor UDP; they hold no port of a budget."},
		{EventsLost, Counter, UnitEvents, netns, "Overruns: times the kernel dropped events. Each hides an unknown number."},
		{Resyncs, Counter, UnitEvents, netns, "Complete dumps that made the ledger exact again after an overrun."},
		{DecodeErrors, Counter, UnitEvents, source, "Kernel messages that could not be decoded and were skipped."},
		{DumpSeconds, Gauge, UnitSeconds, source, "How long the last complete dump took."},
		{SnapshotTimestamp, Gauge, UnitTimestamp, nil, "When the snapshot behind these metrics was taken."},
		{SnapshotAge, Gauge, UnitSeconds, nil, "How old the snapshot behind these metrics was when it was scraped, by a clock that nobody sets."},
		{WarmingUp, Gauge, UnitNone, nil, "1 until one cool-down has passed since the first complete dump: ports closed before may be held unseen."},
		{CPUBudgetExceeded, Gauge, UnitNone, nil, "1 if the agent needs more CPU than its budget to stay exact."},

		{ConfigReloadSuccess, Gauge, UnitNone, nil, "1 if the last load of the config worked, 0 if it was refused and the one before stands."},
		{ConfigReloadTimestamp, Gauge, UnitTimestamp, nil, "When a config was last loaded."},
		{AgentBuildInfo, Gauge, UnitNone, []Label{LabelVersion, LabelRevision, LabelGoVersion}, "The agent's build; always 1."},
	}
}
