// Package metrics turns the ledger's snapshot into Prometheus metrics. The names stand in names.go; one table in
// table.go (Metrics) gives each its type, labels and help text: the collector, the rules, the boards and the
// documentation are made from it.
package metrics

import (
	"strconv"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Name is the name of a metric, as Prometheus stores it. A histogram's series
// add _bucket, _sum and _count.
type Name string

// The names, in the order of the table.
const (
	BudgetInfo           Name = "snat_budget_info"
	BudgetPorts          Name = "snat_budget_ports"
	BudgetAllPorts       Name = "snat_budget_all_ports"
	BudgetEffectivePorts Name = "snat_budget_effective_ports"
	BudgetContradicted   Name = "snat_budget_contradicted"
	PoolNodes            Name = "snat_pool_nodes"
	PoolNodesToNextTier  Name = "snat_pool_nodes_to_next_tier"
	NextTierPorts        Name = "snat_next_tier_ports"
	VIPs                 Name = "snat_vips"
	PoolStale            Name = "snat_pool_stale"

	PortsHeld           Name = "snat_ports_held"
	PortsLive           Name = "snat_ports_live"
	PortsCooling        Name = "snat_ports_cooling"
	AllPortsHeld        Name = "snat_all_ports_held"
	BusiestPortsHeld    Name = "snat_busiest_ports_held"
	DominantPortsHeld   Name = "snat_dominant_ports_held"
	LowPortsFill        Name = "snat_low_ports_fill_ratio"
	ExcessPortsHeld     Name = "snat_excess_ports_held"
	DestinationsTracked Name = "snat_destinations_tracked"
	DestinationsFolded  Name = "snat_destinations_folded"
	FoldedPortsHeldMax  Name = "snat_folded_ports_held_max"

	OwnerPortsHeld       Name = "snat_owner_ports_held"
	OwnerFlowsOpened     Name = "snat_owner_flows_opened_total"
	OwnerLifetimeSeconds Name = "snat_owner_lifetime_seconds"
	OwnerInfo            Name = "snat_owner_info"
	SoonestOwnerHeld     Name = "snat_soonest_owner_ports_held"

	FlowsOpened     Name = "snat_flows_opened_total"
	FlowsClosed     Name = "snat_flows_closed_total"
	HoldSeconds     Name = "snat_hold_seconds"
	LifetimeSeconds Name = "snat_lifetime_seconds"

	ForecastPortsMean        Name = "snat_forecast_ports_mean"
	ForecastPortsVariance    Name = "snat_forecast_ports_variance"
	ExcessForecastPortsMean  Name = "snat_excess_forecast_ports_mean"
	ExhaustionProbability    Name = "snat_exhaustion_probability"
	TimeToExhaustion         Name = "snat_time_to_exhaustion_seconds"
	SoonestExhaustion        Name = "snat_soonest_exhaustion_seconds"
	LikelyExhaustion         Name = "snat_likely_exhaustion_probability"
	PageUrgency              Name = "snat_page_urgency"
	AllForecastPortsMean     Name = "snat_all_forecast_ports_mean"
	AllForecastPortsVariance Name = "snat_all_forecast_ports_variance"
	ExhaustionProbabilityMax Name = "snat_exhaustion_probability_max"
	ForecastBrierScore       Name = "snat_forecast_brier_score"

	AdvicePorts Name = "snat_advice_ports"

	OpenFailures     Name = "snat_open_failures_total"
	OpeningStalled   Name = "snat_opening_stalled"
	StalledAtCeiling Name = "snat_opening_stalled_at_ceiling"

	ConntrackInsertFailed Name = "snat_conntrack_insert_failed_total"
	ConntrackDrop         Name = "snat_conntrack_drop_total"
	ConntrackEarlyDrop    Name = "snat_conntrack_early_drop_total"
	ConntrackFound        Name = "snat_conntrack_found_total"
	ConntrackEntries      Name = "snat_conntrack_entries"
	ConntrackEntriesLimit Name = "snat_conntrack_entries_limit"
	ConntrackTimeToFull   Name = "snat_conntrack_time_to_full_seconds"

	AllowanceAvailable        Name = "snat_conntrack_allowance_available"
	AllowanceTimeToExhaustion Name = "snat_conntrack_allowance_time_to_exhaustion_seconds"
	AllowanceExceeded         Name = "snat_conntrack_allowance_exceeded_total"

	SourceInfo        Name = "snat_source_info"
	LedgerExact       Name = "snat_ledger_exact"
	LedgerFlows       Name = "snat_ledger_flows"
	OtherProtocols    Name = "snat_other_protocol_flows"
	EventsLost        Name = "snat_events_lost_total"
	Resyncs           Name = "snat_resyncs_total"
	LedgerMismatches  Name = "snat_ledger_mismatches_total"
	DecodeErrors      Name = "snat_decode_errors_total"
	DumpSeconds       Name = "snat_dump_seconds"
	SnapshotTimestamp Name = "snat_snapshot_timestamp_seconds"
	SnapshotAge       Name = "snat_snapshot_age_seconds"
	WarmingUp         Name = "snat_warming_up"
	CPUBudgetExceeded Name = "snat_cpu_budget_exceeded"

	NATRuleCount Name = "snat_nat_rules"

	ConfigReloadSuccess   Name = "snat_config_last_reload_success"
	ConfigReloadTimestamp Name = "snat_config_last_reload_success_timestamp_seconds"
	AgentBuildInfo        Name = "snat_agent_build_info"
)

// Label is the name of a label.
type Label string

// The labels. None of them is a port of this machine or a flow: their values
// are bounded by the config and by the number of exported port spaces.
const (
	LabelBudget Label = "budget" // name of a budget in the config
	LabelModel  Label = "model"  // budget model, such as azure-lb
	LabelScope  Label = "scope"  // node or shared
	LabelPool   Label = "pool"   // VM pool, empty where not given
	// NAT gateway or load balancer; on a port space only where its budget is shared
	LabelGateway     Label = "gateway"
	LabelAssumed     Label = "assumed"         // terms that the provider does not document, comma-separated
	LabelProtocol    Label = "protocol"        // tcp or udp
	LabelVIP         Label = "vip"             // empty where VIPs form one port space
	LabelDestination Label = "destination"     // 203.0.113.7:443, 203.0.113.7:*, *, or other
	LabelOwnerKind   Label = "owner_kind"      // pod, container, unit, process, client, unknown, other
	LabelOwner       Label = "owner"           // namespace/pod, a container's name, a unit, a command, an address
	LabelOwnerInner  Label = "owner_container" // of a pod, empty where unknown
	LabelWorkload    Label = "workload"        // what made a pod: the name of a Deployment
	LabelWorkKind    Label = "workload_kind"
	LabelHorizon     Label = "horizon" // 1m, 5m, 15m, 1h
	LabelReason      Label = "reason"  // fin, rst, timeout, idle, evicted, unknown
	LabelCause       Label = "cause"   // unanswered, refused, ports
	LabelMeasure     Label = "measure" // what would help: a few words of the agent's own
	LabelNetns       Label = "netns"   // inode number of the network namespace
	LabelInterface   Label = "interface"
	LabelSource      Label = "source"   // conntrack or sockets
	LabelStrategy    Label = "strategy" // poll or events; empty for sockets
	LabelState       Label = "state"    // read, not_read, shadowed
	LabelVersion     Label = "version"
	LabelRevision    Label = "revision"
	LabelGoVersion   Label = "goversion"
)

// DestinationOther is the value of LabelDestination for the sum of all port
// spaces that are not exported one by one. It is never compared with a budget.
const DestinationOther = "other"

// LikelyProbability is the least value of LikelyExhaustion: a port space whose probability is lower has no such
// series. Rules read no other probability of each destination: a fleet has 200 for each node, nearly all of them 0.
const LikelyProbability = 0.05

// NetnsOther is the value of LabelNetns for all namespaces but those in which
// flows leave the machine.
const NetnsOther = "other"

// The values of LabelCause. A cause without a working sensor is absent, not 0.
const (
	CauseUnanswered = "unanswered" // no answer while the port space had ports left
	CauseRefused    = "refused"    // answered by a RST
	CausePorts      = "ports"      // no port was left: see the table
)

// The values of LabelState of NATRuleCount.
const (
	StateRead     = "read"     // a budget is made of it, or it has no ports to run out of
	StateNotRead  = "not_read" // it is not understood, so that its flows are in no budget
	StateShadowed = "shadowed" // rules before it take all flows
)

// PortsOf returns how many ports the port space with that label vip has, and its effective ceiling. ports and effective
// are those of its budget: the ports below 1024 of a Linux NAT are port spaces of their own.
func PortsOf(vip string, ports, effective int) (spacePorts, spaceEffective int) {
	all := budget.Terms{Ports: ports, Effective: effective}
	of := all.OfClass(budget.ClassNamed(vip))
	return of.Ports, of.Effective
}

// HorizonValues returns the values of LabelHorizon in the order of
// detector.Horizons.
func HorizonValues() [detector.NumHorizons]string {
	var out [detector.NumHorizons]string
	for i, h := range detector.Horizons() {
		out[i] = HorizonValue(h)
	}
	return out
}

// HorizonValue returns h as LabelHorizon shows it: whole hours as 1h, else
// minutes as 15m.
func HorizonValue(h time.Duration) string {
	if h%time.Hour == 0 {
		return strconv.Itoa(int(h/time.Hour)) + "h"
	}
	return strconv.Itoa(int(h/time.Minute)) + "m"
}
