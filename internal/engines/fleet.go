package engines

import (
	"fmt"
	"math"
	"slices"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// Fleet is nodes whose agents export 50 destinations each, behind gateways that they share. A cluster has as many
// nodes, and as many gateways, as any other.
type Fleet struct {
	Nodes, Gateways, Clusters int
	// Failing is on how many nodes ports to one destination run out.
	Failing int
}

// Series is one series of a node: its value at a time in seconds.
type Series struct {
	Name   metrics.Name
	Labels []string // name, value, name, value
	Value  func(seconds float64) float64
}

// Cluster is the number of the cluster that node i is in.
func (f Fleet) Cluster(i int) int { return i % f.Clusters }

// destinations is how many an agent exports, beside the rest folded into one.
const destinations = 50

// Node returns what node i serves, with the labels that a scrape gives it. On one node of twenty exhaustion is likely
// enough that alerts read its probability, and too unlikely to raise one.
func (f Fleet) Node(i int) []Series {
	n := node{seed: uint64(i) * 2654435761, target: []string{
		"cluster", fmt.Sprintf("c%d", f.Cluster(i)), "instance", fmt.Sprintf("node-%d:9959", i), "job", "snatwatch",
	}}
	gateway := fmt.Sprintf("nat-%d", i%f.Gateways)
	failing := i < f.Failing
	const tcp = "tcp"
	protocol := []string{"budget", "nat", "protocol", tcp}
	n.add("up", always(1))
	n.add(metrics.BudgetInfo, always(1), "assumed", "false", "budget", "nat", "gateway", gateway, "model",
		"aws-nat-gateway",
		"pool", fmt.Sprintf("pool-%d", i%(5*f.Clusters)), "scope", "shared")
	n.add(metrics.BudgetPorts, always(55000), protocol...)
	n.add(metrics.BudgetEffectivePorts, always(55000), protocol...)
	n.add(metrics.BusiestPortsHeld, n.counts(40), protocol...)
	n.add(metrics.FlowsOpened, grows(20), protocol...)
	n.add(metrics.OpeningStalled, always(0), protocol...)
	n.add(metrics.StalledAtCeiling, always(0), protocol...)
	n.add(metrics.FoldedPortsHeldMax, always(3), protocol...)
	n.add(metrics.DominantPortsHeld, n.counts(40), append([]string{"destination", "203.0.113.0:443"}, protocol...)...)
	n.add(metrics.BudgetContradicted, always(0), "budget", "nat")
	n.add(metrics.PoolStale, always(0), "budget", "nat")
	n.add(metrics.PoolNodes, always(float64(f.Nodes/f.Gateways)), "budget", "nat")
	n.add(metrics.VIPs, always(1), "budget", "nat")
	n.add(metrics.SoonestExhaustion, always(math.Inf(1)),
		slices.Concat(protocol, []string{"destination", "203.0.113.0:443", "gateway", gateway})...)
	n.add(metrics.HoldSeconds+"_sum", grows(5000), protocol...)
	n.add(metrics.HoldSeconds+"_count", grows(20), protocol...)
	n.add(metrics.WarmingUp, always(0))
	n.add(metrics.ConfigReloadSuccess, always(1))
	for _, r := range []string{"fin", "rst", "timeout", "idle", "evicted", "unknown"} {
		n.add(metrics.FlowsClosed, grows(0.05), "budget", "nat", "protocol", tcp, "reason", r)
	}
	for _, c := range []string{metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts} {
		failures := always(0)
		if failing && c == metrics.CausePorts {
			failures = grows(1)
		}
		n.add(metrics.OpenFailures, failures, "budget", "nat", "cause", c, "protocol", tcp)
	}
	n.kernel()
	for _, h := range metrics.HorizonValues() {
		n.add(metrics.ForecastBrierScore, n.varies(0.01), "budget", "nat", "horizon", h)
	}
	n.add(metrics.AllPortsHeld, n.counts(1500), protocol...)
	for i, h := range metrics.HorizonValues() {
		total := slices.Concat(protocol, []string{"horizon", h})
		n.add(metrics.AllForecastPortsMean, n.varies(1500+float64(i)), total...)
		n.add(metrics.AllForecastPortsVariance, n.varies(6000), total...)
		n.add(metrics.ExhaustionProbabilityMax, n.varies(0.01*float64(i+1)), total...)
	}
	n.spaces(gateway, i, failing)
	return n.all
}

// kernel adds the series of the machine.
func (n *node) kernel() {
	n.add(metrics.LedgerExact, always(1), "netns", "1")
	n.add(metrics.EventsLost, always(0), "netns", "1")
	n.add(metrics.DecodeErrors, always(0), "netns", "1", "source", "conntrack")
	n.add(metrics.ConntrackInsertFailed, always(0), "netns", "1")
	n.add(metrics.ConntrackDrop, always(0), "netns", "1")
	n.add(metrics.ConntrackEarlyDrop, always(0), "netns", "1")
	n.add(metrics.ConntrackEntries, n.counts(5000), "netns", "1")
	n.add(metrics.ConntrackEntriesLimit, always(262144), "netns", "1")
	n.add(metrics.SnapshotTimestamp, func(t float64) float64 { return t })
	n.add(metrics.SnapshotAge, func(float64) float64 { return n.noise() })
	n.add(metrics.AgentBuildInfo, always(1), "version", "1")
}

// spaces adds the series of each destination.
func (n *node) spaces(gateway string, i int, failing bool) {
	for d := range destinations + 1 {
		space := []string{
			"budget", "nat", "destination", fmt.Sprintf("203.0.113.%d:443", d), "gateway", gateway,
			"protocol", "tcp",
		}
		if d == destinations {
			space[3] = metrics.DestinationOther
		}
		held := float64(40 - d/2)
		n.add(metrics.PortsHeld, n.counts(held), space...)
		n.add(metrics.PortsLive, n.counts(held/2), space...)
		n.add(metrics.PortsCooling, n.counts(held/2), space...)
		if d == destinations {
			continue
		}
		likely, left := 0.0, math.Inf(1)
		switch {
		case d == 0 && failing:
			likely, left = 0.8, 200
		case d == 0 && i%20 == 0:
			likely = 0.1
		}
		n.add(metrics.TimeToExhaustion, always(left), space...)
		for j, h := range metrics.HorizonValues() {
			ahead := slices.Concat(space, []string{"horizon", h})
			n.add(metrics.ForecastPortsMean, n.varies(held+float64(j)), ahead...)
			n.add(metrics.ForecastPortsVariance, n.varies(4*held), ahead...)
			n.add(metrics.ExhaustionProbability, n.varies(0.001*float64(j+1)), ahead...)
			if likely > 0 {
				n.add(metrics.LikelyExhaustion, n.varies(likely), ahead...)
			}
		}
	}
}

// node collects the series of one.
type node struct {
	seed   uint64
	target []string
	all    []Series
}

func (n *node) add(name metrics.Name, value func(float64) float64, labels ...string) {
	n.all = append(n.all, Series{name, slices.Concat(n.target, labels), value})
}

// noise is a number from 0 to 1 that looks like any other.
func (n *node) noise() float64 {
	n.seed = n.seed*6364136223846793005 + 1442695040888963407
	return float64(n.seed>>11) / (1 << 53)
}

// varies is an estimate, as an agent tells it: no whole number, with as many digits as it is good for.
func (n *node) varies(v float64) func(float64) float64 {
	return func(float64) float64 { return detector.Estimate(v * (0.9 + 0.2*n.noise())) }
}

func (n *node) counts(v float64) func(float64) float64 {
	return func(float64) float64 { return math.Floor(v * (0.9 + 0.2*n.noise())) }
}

func always(v float64) func(float64) float64 { return func(float64) float64 { return v } }

func grows(perSecond float64) func(float64) float64 {
	return func(t float64) float64 { return math.Floor(perSecond * t) }
}
