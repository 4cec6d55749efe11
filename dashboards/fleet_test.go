package dashboards_test

import (
	"bufio"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// A fleet is made up: nodes in two clusters whose names are the same, in three pools; one pool has a table of tiers,
// one a shared gateway, one many ports. Some nodes are full and fail, some soon will be, some were and are not any
// more; one is inexact, one warms up, one is down, one has an address of IPv6 and one a very long name.
type fleet struct {
	nodes, destinations int
	clusters            int           // two where it is 0, one without a name where it is 1; of more no two nodes, pools or gateways are alike
	every               time.Duration // between scrapes
	old, young          *bufio.Writer // of before the last block begins, and of it
	line                []byte
}

// fleetEnd is when a fleet is looked at. A block of 54 hours begins at each multiple of them since 1970: half of what a
// board shows is in one, half in the next, and promtool, which maps into memory all that it makes a block of, needs half
// as much.
var fleetEnd = time.Unix(54*3600*9150+int64(fleetYoung.Seconds()), 0)

const (
	fleetYoung = 35 * time.Minute // what of them is in the last block
	fleetPast  = 70 * time.Minute // how far series go back
	fleetDay   = 25 * time.Hour   // and those that tell who was an agent
)

// simulated is one node. Its state says what becomes of its fullest port space.
type simulated struct {
	index                                                int
	cluster, instance, pool, budget, model, scope, share string
	ports                                                float64
	behind                                               int // nodes of the cluster behind its gateway
	state                                                state
	apart                                                float64 // what tells it from others in a fleet of many clusters
	down                                                 bool
}

type state uint8

const (
	calm state = iota
	saturated
	soon     // 38 seconds are left
	later    // seven minutes are left
	relieved // it was full until a quarter of an hour ago
)

func (f *fleet) node(i int) *simulated {
	c := f.clusters
	if c == 0 {
		c = 2
	}
	n := &simulated{index: i, cluster: fmt.Sprintf("c%d", i%c)}
	switch {
	case c == 1:
		n.cluster = ""
	case i%c < 2:
		n.cluster = []string{"prod", "stage"}[i%c]
	}
	name := "web"
	switch k := i / c % 10; {
	case k == 9:
		name, n.budget, n.model, n.scope, n.ports = "api", "wide", "static", "node", 100_000
	case k >= 6:
		name, n.budget, n.model, n.scope, n.share, n.ports = "batch", "nat", "aws-nat-gateway", "shared", "nat-1", 55_000
	default:
		n.budget, n.model, n.scope, n.ports = "lb", "azure-lb-2018", "node", 1024
		n.state = map[int]state{0: saturated, 2: soon, 4: later, 5: relieved}[i%20]
		if c > 2 {
			n.state = map[int]state{0: saturated, 47: soon, 94: later, 101: relieved}[i]
		}
	}
	if c > 2 {
		n.apart = float64(i)
	}
	n.pool = name
	for j := n.index % c; j < f.nodes; j += c {
		if k := j / c % 10; k >= 6 && k < 9 && j%97 != 13 {
			n.behind++
		}
	}
	n.instance = fmt.Sprintf("%s-%02d:9959", name, i/c)
	switch i {
	case 4:
		n.instance = "[2001:db8:85a3:12::8a2e:7334]:9959"
	case 5:
		n.instance = "ip-10-120-33-127.a-rather-long-name-of-a-node-pool.eu-central-1.compute.internal:9959"
	}
	n.down = i > 0 && i%97 == 13
	return n
}

// fill is the fill of the fullest port space, and rise its rise in a second, so many seconds before the end.
func (n *simulated) fill(before float64) (fill, rise float64) {
	wave := 0.02 * math.Sin(float64(n.index)+before/47)
	ramp := func(from, to, begin, end float64) (float64, float64) {
		switch {
		case before > begin:
			return from + wave, 0
		case before < end:
			return to, 0
		}
		return from + (to-from)*(begin-before)/(begin-end), (to - from) / (begin - end)
	}
	switch n.state {
	case saturated:
		fill, rise = ramp(0.35, 1, 2100, 1200)
		if rise == 0 && before < 1200 {
			fill -= 0.017 * math.Mod(before/15*0.618, 1) // it hovers
		}
	case soon:
		fill, rise = ramp(0.3, 1, 780, -38)
	case later:
		fill, rise = ramp(0.4, 1, 1200, -412)
	case relieved:
		if fill = 0.4 + wave; before < 2400 && before > 900 {
			fill = 0.995
		}
	default:
		fill = 0.15 + 0.4*math.Mod(float64(n.index)*0.618, 1) + wave
		if n.pool == "batch" { // its part of what its gateway has
			fill = gatewayFill(n.cluster, before) / float64(n.behind)
		}
	}
	return min(fill, 1), rise
}

// left is the time to exhaustion, and likely its probability by a horizon of so many seconds.
func (n *simulated) left(before float64) float64 {
	fill, rise := n.fill(before)
	switch {
	case fill >= 0.98:
		return 0
	case rise <= 0 || (1-fill)/rise > 3600:
		return math.Inf(1)
	}
	return (1 - fill) / rise
}

func (n *simulated) likely(before, horizon float64) float64 {
	left := n.left(before)
	if math.IsInf(left, 1) {
		return 0.002 + n.apart/1e5
	}
	return 1 / (1 + math.Exp((left-horizon)/(0.15*left+5)))
}

// add writes a series from its first sample to its end, so many seconds before fleetEnd.
func (f *fleet) add(name metrics.Name, labels string, past time.Duration, every time.Duration, until float64, value func(before float64) float64) {
	head := string(name) + "{" + labels + "} "
	for before := past.Seconds(); before >= until; before -= every.Seconds() {
		f.line = append(f.line[:0], head...)
		f.line = strconv.AppendFloat(f.line, value(before), 'g', -1, 64)
		f.line = append(f.line, ' ')
		f.line = strconv.AppendInt(f.line, fleetEnd.Unix()-int64(before), 10)
		w := f.young
		if before > fleetYoung.Seconds() {
			w = f.old
		}
		_, _ = w.Write(append(f.line, '\n'))
	}
}

func labels(pairs ...string) string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, fmt.Sprintf("%s=%q", pairs[i], pairs[i+1]))
	}
	return strings.Join(out, ",")
}

func (f *fleet) writeNode(n *simulated) {
	until := 0.0
	if n.down {
		until = 2400
	}
	agent := labels("cluster", n.cluster, "job", "snatwatch", "instance", n.instance)
	add := func(name metrics.Name, more string, value func(before float64) float64) {
		f.add(name, strings.TrimSuffix(agent+","+more, ","), fleetPast, f.every, until, value)
	}
	always := func(v float64) func(float64) float64 { return func(float64) float64 { return v } }
	grows := func(perSecond func(before float64) float64) func(float64) float64 {
		sum := 0.0
		return func(before float64) float64 { sum += f.every.Seconds() * perSecond(before); return math.Floor(sum) }
	}
	flag := func(on bool) func(float64) float64 {
		if on {
			return always(1)
		}
		return always(0)
	}
	f.add("up", agent, fleetPast, f.every, 0, func(before float64) float64 {
		if before < until {
			return 0
		}
		return 1
	})
	version := []string{"1.2.0", "1.1.4"}[min(n.index%50/40, 1)]
	f.add(metrics.AgentBuildInfo, agent+","+labels("version", version, "revision", "abc1234", "goversion", "go1.26"), fleetDay, time.Minute, until, always(1))
	budget, protocol := labels("budget", n.budget), labels("budget", n.budget, "protocol", "tcp")
	add(metrics.BudgetInfo, labels("budget", n.budget, "model", n.model, "scope", n.scope, "pool", n.pool, "gateway", n.share), always(1))
	add(metrics.BudgetPorts, protocol, always(n.ports))
	add(metrics.BudgetEffectivePorts, protocol, always(n.ports))
	add(metrics.BudgetContradicted, budget, always(0))
	add(metrics.BudgetAllPorts, protocol, always(64*n.ports))
	if n.pool == "web" {
		add(metrics.PoolNodes, budget, always(49))
		add(metrics.PoolNodesToNextTier, budget, always(1))
		add(metrics.NextTierPorts, budget, always(512))
		add(metrics.VIPs, budget, always(1))
		add(metrics.PoolStale, budget, flag(n.index == 8))
	}
	held := func(before float64) float64 { fill, _ := n.fill(before); return math.Round(fill * n.ports) }
	add(metrics.AllPortsHeld, protocol, func(before float64) float64 { return 2 * held(before) })
	add(metrics.BusiestPortsHeld, protocol, held)
	add("instance:snat_busiest_fill:ratio", protocol, func(before float64) float64 { return held(before) / n.ports })
	add(metrics.DestinationsTracked, protocol, always(float64(80+n.index%7)))
	add(metrics.DestinationsFolded, protocol, always(0))
	add(metrics.FoldedPortsHeldMax, protocol, always(3))
	hold := func(before float64) float64 { return 245 + 600*max(0, first2(n.fill(before))-0.4) }
	opens := func(float64) float64 { return 3 + float64(n.index%5) }
	add(metrics.FlowsOpened, protocol, grows(opens))
	add(metrics.HoldSeconds+"_count", protocol, grows(opens))
	add(metrics.HoldSeconds+"_sum", protocol, grows(func(before float64) float64 { return opens(before) * hold(before) }))
	f.writeHistograms(n, add, protocol, grows, hold)
	for i, r := range []string{"fin", "rst", "timeout", "idle", "evicted", "unknown"} {
		add(metrics.FlowsClosed, protocol+","+labels("reason", r), grows(always(2/float64(1+i*i))))
	}
	fails := func(before float64) float64 {
		if n.left(before) > 0 {
			return 0
		}
		return 0.4
	}
	add(metrics.OpenFailures, protocol+","+labels("cause", "ports"), grows(fails))
	add(metrics.OpenFailures, protocol+","+labels("cause", "refused"), grows(always(0.02+n.apart/1e3)))
	add(metrics.OpenFailures, protocol+","+labels("cause", "unanswered"), grows(always(0.01+n.apart/2e3)))
	add(metrics.OpeningStalled, protocol, func(before float64) float64 { return math.Round(12 * fails(before)) })
	netns := labels("netns", "4026531840")
	for _, c := range []metrics.Name{metrics.ConntrackInsertFailed, metrics.ConntrackDrop, metrics.EventsLost, metrics.Resyncs} {
		add(c, netns, grows(func(float64) float64 { return map[bool]float64{true: 0.01}[n.index == 10] }))
	}
	add(metrics.LedgerMismatches, netns, always(0))
	add(metrics.ConntrackFound, netns, grows(always(40)))
	add(metrics.ConntrackEntries, netns, func(before float64) float64 { return 9000 + held(before) })
	add(metrics.ConntrackEntriesLimit, netns, always(262_144))
	ec2 := labels("interface", "ens5")
	add(metrics.AllowanceAvailable, ec2, func(before float64) float64 { return 130_000 - held(before) })
	add(metrics.AllowanceTimeToExhaustion, ec2, always(math.Inf(1)))
	add(metrics.AllowanceExceeded, ec2, always(7))
	source := netns + "," + labels("source", "conntrack")
	add(metrics.SourceInfo, source+","+labels("strategy", []string{"poll", "events"}[n.index%9/8]), always(1))
	add(metrics.DecodeErrors, source, always(0))
	add(metrics.DumpSeconds, source, func(before float64) float64 { return 0.05 + 0.02*math.Sin(before/60+float64(n.index)) })
	add(metrics.LedgerExact, netns, flag(n.index != 10))
	add(metrics.LedgerFlows, netns, func(before float64) float64 { return 4000 + 3*held(before) })
	add(metrics.OtherProtocols, netns, always(2))
	age := float64(2 + n.index%5)
	if n.index == 14 {
		age = 190
	}
	add(metrics.SnapshotTimestamp, "", func(before float64) float64 { return float64(fleetEnd.Unix()) - before - age })
	add(metrics.WarmingUp, "", flag(n.index == 12))
	add(metrics.CPUBudgetExceeded, "", flag(n.index == 16))
	add(metrics.ConfigReloadSuccess, "", flag(n.index != 18))
	add(metrics.ConfigReloadTimestamp, "", always(float64(fleetEnd.Unix()-86_400*int64(1+n.index%9))))
	add("process_cpu_seconds_total", "", func(before float64) float64 {
		return (0.01 + 0.0005*float64(n.index%30)) * (fleetPast.Seconds() - before)
	})
	f.add("node_cpu_seconds_total", labels("cluster", n.cluster, "job", "node", "instance", strings.TrimSuffix(n.instance, ":9959")+":9100", "cpu", "0", "mode", "idle"), 10*time.Minute, f.every, 0,
		func(before float64) float64 { return 0.8 * (fleetPast.Seconds() - before) })
	for i, h := range detector.Horizons() {
		at := labels("horizon", metrics.HorizonValues()[i])
		add(metrics.ExhaustionProbabilityMax, protocol+","+at, func(before float64) float64 { return n.likely(before, h.Seconds()) })
		add(metrics.ForecastBrierScore, budget+","+at, always(0.02*float64(i+1)+0.2*float64(n.index%10)/10))
		add(metrics.AllForecastPortsMean, protocol+","+at, func(before float64) float64 { return 2.05 * held(before) })
		add(metrics.AllForecastPortsVariance, protocol+","+at, func(before float64) float64 { return 2 * held(before) })
	}
	if n.state != calm && n.state != relieved {
		add(metrics.AdvicePorts, budget+","+labels("measure", "another VIP"), always(1024))
		add(metrics.AdvicePorts, budget+","+labels("measure", "a manual allocation"), always(512))
	}
	f.writeSpaces(n, agent, until)
	if n.state == saturated {
		for _, a := range []string{"SnatPortsExhausted", "SnatExhaustionPredicted"} {
			f.add("ALERTS", agent+","+protocol+","+labels("alertname", a, "alertstate", "firing", "severity", "critical", "destination", "203.0.113.7:443"), 1260*time.Second, f.every, 0, always(1))
		}
	}
}

func first2(a, _ float64) float64 { return a }

func (f *fleet) writeHistograms(n *simulated, add func(metrics.Name, string, func(float64) float64), protocol string, grows func(func(float64) float64) func(float64) float64, hold func(float64) float64) {
	if n.index > 5 {
		return // the heat maps are of one node
	}
	bounds := []float64{0.1, 1, 10, 60, 240, 300, 600, 1200}
	for i, b := range append(bounds, math.Inf(1)) {
		le := strconv.FormatFloat(b, 'g', -1, 64)
		at := func(mean float64) float64 { return 4 / (1 + math.Exp(-(b-mean)/(0.2*mean))) }
		if i == len(bounds) {
			at = func(float64) float64 { return 4 }
		}
		add(metrics.HoldSeconds+"_bucket", protocol+","+labels("le", le), grows(func(before float64) float64 { return at(hold(before)) }))
		add(metrics.LifetimeSeconds+"_bucket", protocol+","+labels("le", le), grows(func(before float64) float64 { return at(hold(before) - 239) }))
	}
}

// writeSpaces writes the port spaces: of the first nodes with their past, for their own board, of the others as they
// are.
func (f *fleet) writeSpaces(n *simulated, agent string, until float64) {
	past := 2 * time.Minute
	if n.index <= 5 {
		past = fleetPast
	}
	if until > 0 {
		return
	}
	for d := range f.destinations {
		destination, part := fmt.Sprintf("203.0.113.%d:443", 7+d), 1/float64(1+d)
		switch d {
		case 1:
			destination = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:8443"
		case f.destinations - 1:
			destination = "other"
		}
		space := agent + "," + labels("budget", n.budget, "gateway", n.share, "protocol", "tcp", "vip", "", "destination", destination)
		space = strings.ReplaceAll(strings.ReplaceAll(space, `gateway="",`, ""), `vip="",`, "")
		add := func(name metrics.Name, more string, value func(before float64) float64) {
			f.add(name, space+more, past, f.every, 0, value)
		}
		held := func(before float64) float64 {
			fill, _ := n.fill(before)
			if d > 0 {
				fill = min(fill, 0.5)
			}
			return math.Round(fill * n.ports * part)
		}
		add(metrics.PortsHeld, "", held)
		if d == 0 { // what a fleet's boards do not read stands at the node's fullest destination
			pod := "," + labels("owner_kind", "pod", "owner", "payments/checkout-7d9f")
			add(metrics.OwnerPortsHeld, pod, func(before float64) float64 { return math.Round(held(before) * 0.6) })
			add(metrics.SoonestOwnerHeld, pod, func(before float64) float64 { return math.Round(held(before) * 0.6) })
			add(metrics.OwnerPortsHeld, ","+labels("owner_kind", "other", "owner", "other"), func(before float64) float64 { return held(before) - math.Round(held(before)*0.6) })
			of := agent + "," + labels("budget", n.budget, "protocol", "tcp") + pod
			f.add(metrics.OwnerFlowsOpened, of, past, f.every, 0, func(before float64) float64 { return 1e6 - 20*before })
			f.add(metrics.OwnerLifetimeSeconds, of, past, f.every, 0, func(float64) float64 { return 12 })
			f.add(metrics.OwnerInfo, agent+pod+","+labels("workload", "checkout", "workload_kind", "Deployment"), past, f.every, 0, func(float64) float64 { return 1 })
		}
		add(metrics.PortsLive, "", func(before float64) float64 { return math.Round(held(before) * 0.7) })
		add(metrics.PortsCooling, "", func(before float64) float64 { return held(before) - math.Round(held(before)*0.7) })
		if destination == "other" {
			continue
		}
		left, likely := n.left, n.likely
		if d > 0 {
			left, likely = func(float64) float64 { return math.Inf(1) }, func(float64, float64) float64 { return 0.001 }
		} else {
			add(metrics.SoonestExhaustion, "", left)
		}
		add(metrics.TimeToExhaustion, "", left)
		for i, h := range detector.Horizons() {
			at := "," + labels("horizon", metrics.HorizonValues()[i])
			if past < fleetPast && i != 1 { // boards of fleets read the page's horizon alone
				continue
			}
			mean := func(before float64) float64 {
				fill, rise := n.fill(before)
				if d > 0 {
					rise = 0
				}
				return min((fill+rise*h.Seconds())*n.ports*part, 1.05*n.ports)
			}
			add(metrics.ForecastPortsMean, at, mean)
			add(metrics.ForecastPortsVariance, at, func(before float64) float64 { return 3 * mean(before) })
			add(metrics.ExhaustionProbability, at, func(before float64) float64 { return likely(before, h.Seconds()) })
			if slices.Contains([]state{saturated, soon, later}, n.state) && d == 0 {
				add(metrics.LikelyExhaustion, at, func(before float64) float64 { return max(0.05, likely(before, h.Seconds())) })
			}
		}
	}
}
