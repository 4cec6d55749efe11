package dashboards_test

import (
	"bufio"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/records"
)

// blocks writes a fleet as blocks of Prometheus into dir.
func (f *fleet) blocks(t testing.TB, promtool, dir string) {
	t.Helper()
	var files []*os.File
	for _, w := range []**bufio.Writer{&f.old, &f.young} {
		file, err := os.Create(filepath.Join(t.TempDir(), "fleet.txt"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		*w = bufio.NewWriterSize(file, 1<<20)
	}
	var nodes []*simulated
	for i := range f.nodes {
		nodes = append(nodes, f.node(i))
		f.writeNode(nodes[i])
	}
	f.writeRecords(nodes)
	for i, w := range []*bufio.Writer{f.old, f.young} {
		_, _ = w.WriteString("# EOF\n")
		if err := errors.Join(w.Flush(), files[i].Close()); err != nil {
			t.Fatal(err)
		}
		run(t, promtool, "tsdb", "create-blocks-from", "--max-block-duration=72h", "openmetrics", files[i].Name(), dir)
		if err := os.Remove(files[i].Name()); err != nil {
			t.Fatal(err)
		}
	}
}

// writeRecords writes what the recording rules make of a fleet, at their intervals. TestFleetIsRecordedAsRulesDo
// holds it to them.
func (f *fleet) writeRecords(nodes []*simulated) {
	type key struct{ cluster, pool string }
	pools := map[key][]*simulated{}
	for _, n := range nodes {
		if !n.down {
			pools[key{n.cluster, n.pool}] = append(pools[key{n.cluster, n.pool}], n)
		}
	}
	for k, members := range pools {
		first := members[0]
		over := func(op func(a, b float64) float64, of func(n *simulated, before float64) float64) func(float64) float64 {
			return func(before float64) float64 {
				sum := 0.0
				for _, n := range members {
					sum = op(sum, of(n, before))
				}
				return sum
			}
		}
		sum := func(a, b float64) float64 { return a + b }
		held := func(n *simulated, before float64) float64 {
			return 2 * math.Round(first2(n.fill(before))*n.ports)
		}
		pool := labels("cluster", k.cluster, "pool", k.pool, "budget", first.budget, "protocol", "tcp")
		interval := 4 * time.Minute
		add := func(name, more string, value func(float64) float64) {
			f.add(metrics.Name(name), pool+more, fleetPast.Truncate(interval), interval, 0, value)
		}
		add(records.PoolHeld, "", over(sum, held))
		add(records.PoolOpened, "", over(sum, func(n *simulated, _ float64) float64 { return 3 + float64(n.index%5) }))
		add(records.PoolFill, "", over(math.Max, func(n *simulated, before float64) float64 { return held(n, before) / 2 / n.ports }))
		for i, h := range detector.Horizons() {
			at := "," + labels("horizon", metrics.HorizonValues()[i])
			likely := func(n *simulated, before float64) float64 { return n.likely(before, h.Seconds()) }
			add(records.PoolProbability, at, over(math.Max, likely))
			add(records.PoolExpected, at, over(sum, likely))
			add(records.PoolMean, at, over(sum, func(n *simulated, before float64) float64 { return 2.05 / 2 * held(n, before) }))
			add(records.PoolVariance, at, over(sum, held))
		}
		if first.share != "" {
			f.writeGateway(k.cluster, first)
		}
	}
}

// Gateways fill up over an hour. That of one cluster has ten minutes left. That of the other was at its ceiling from two
// minutes before the end until half a minute before it: what was recorded of it does not know that it is relieved.
const gatewayRise = 0.00025

func gatewayFill(cluster string, before float64) float64 {
	number, _ := strconv.Atoi(strings.TrimPrefix(cluster, "c"))
	switch {
	case number > 0:
		return max(0.02, 0.5+0.02*float64(number)-gatewayRise*before)
	case cluster == "prod":
		return max(0.02, 0.85-gatewayRise*before)
	case before < 30:
		return 0.35
	}
	return min(1, 1.03-gatewayRise*before)
}

// writeGateway writes what is recorded of a gateway, a minute before the end the last time.
func (f *fleet) writeGateway(cluster string, n *simulated) {
	gateway := labels("cluster", cluster, "budget", n.budget, "gateway", n.share, "protocol", "tcp")
	add := func(name, more string, value func(float64) float64) {
		f.add(metrics.Name(name), gateway+more, fleetPast, time.Minute, 60, value)
	}
	always := func(v float64) func(float64) float64 { return func(float64) float64 { return v } }
	add(records.GatewayPorts, "", always(n.ports))
	add(records.GatewayUnseen, "", always(1200))
	add(records.GatewayOpened, "", always(310))
	for d := range 30 {
		to := "," + labels("destination", "203.0.113."+strconv.Itoa(7+d)+":443")
		fill := func(before float64) float64 { return gatewayFill(cluster, before) / float64(1+d) }
		add(records.GatewayHeld, to, func(before float64) float64 { return math.Round(fill(before) * n.ports) })
		left := func(before float64) float64 {
			if d > 0 {
				return math.Inf(1)
			}
			return (1 - fill(before)) / gatewayRise
		}
		add(records.GatewayTime, to, left)
		for i, h := range detector.Horizons() {
			add(records.GatewayProbability, to+","+labels("horizon", metrics.HorizonValues()[i]), func(before float64) float64 {
				if d > 0 {
					return 0
				}
				return 1 / (1 + math.Exp((left(before)-h.Seconds())/200))
			})
		}
	}
}
