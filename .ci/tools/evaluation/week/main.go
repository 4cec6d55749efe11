// Command week writes days of a fleet's metrics that snatwatch plan reads into the data of a Prometheus, to measure how
// long the plan takes. What is read over the whole range has a sample each 15 seconds, the rest one each minute.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/records"
)

func main() {
	app := kingpin.New("week", "Writes days of a fleet's metrics into the data of a Prometheus.")
	data := app.Arg("data", "Folder of the data.").Required().String()
	f := fleet{}
	app.Flag("nodes", "Nodes.").Default("1000").IntVar(&f.nodes)
	app.Flag("days", "Days, until now.").Default("7").IntVar(&f.days)
	app.Flag("destinations", "Destinations that each node exports.").Default("2").IntVar(&f.destinations)
	app.Flag("gateway", "All nodes share one gateway.").BoolVar(&f.gateway)
	app.Flag("recorded", "The gateway's sums are there as well, as rules record them.").BoolVar(&f.recorded)
	kingpin.MustParse(app.Parse(os.Args[1:]))
	if err := f.write(*data); err != nil {
		fmt.Fprintln(os.Stderr, "week:", err)
		os.Exit(1)
	}
}

type fleet struct {
	nodes, days, destinations int
	gateway, recorded         bool
}

// quarters of a minute are between two samples, at least.
const quarters = 4

// series is one with what it is worth in a minute since the beginning.
type series struct {
	labels labels.Labels
	often  bool // four samples a minute
	value  func(minute int) float64
}

// node are the series of one node: a cool-down of 240 s, lifetimes of 6 s, an hour of peak each day.
func (f fleet) node(i int) (all []series) {
	held := func(seconds float64) func(int) float64 {
		return func(minute int) float64 { return math.Round(rate(i, minute) * seconds) }
	}
	model, scope, gateway := "azure-lb-2018", "node", ""
	if f.gateway {
		model, scope, gateway = "aws-nat-gateway", "shared", "nat-1"
	}
	instance := fmt.Sprintf("10.0.%d.%d:9959", i/250, i%250)
	add := func(name metrics.Name, often bool, value func(int) float64, pairs ...string) {
		l := labels.NewScratchBuilder(10)
		l.Add(labels.MetricName, string(name))
		for k := 0; k < len(pairs); k += 2 {
			if pairs[k+1] != "" {
				l.Add(pairs[k], pairs[k+1])
			}
		}
		l.Sort()
		all = append(all, series{l.Labels(), often, value})
	}
	of := func(more ...string) []string { return append([]string{"instance", instance, "budget", "web"}, more...) }
	tcp := func(more ...string) []string { return append(of("protocol", "tcp"), more...) }
	add(metrics.BudgetInfo, false, always(1),
		of("model", model, "scope", scope, "pool", "web", "gateway", gateway, "assumed", "false")...)
	add(metrics.BudgetPorts, false, always(map[bool]float64{false: 1024, true: 55000}[f.gateway]), tcp()...)
	add(metrics.PoolNodes, false, always(float64(f.nodes)), of()...)
	add(metrics.VIPs, false, always(1), of()...)
	add(metrics.BusiestPortsHeld, true, held(246), tcp()...)
	for d := range f.destinations {
		to := tcp("gateway", gateway, "destination", fmt.Sprintf("203.0.113.%d:443", d))
		add(metrics.PortsHeld, false, held(246/float64(1+d)), to...)
		add(metrics.PortsLive, false, held(6/float64(1+d)), to...)
		add(metrics.PortsCooling, false, held(240/float64(1+d)), to...)
	}
	add(metrics.FlowsOpened, false, total(i, 1), tcp()...)
	add(metrics.FlowsClosed, false, total(i, 1), tcp("reason", "fin")...)
	for _, le := range []string{"1", "2", "4"} {
		add(metrics.LifetimeSeconds+"_bucket", false, always(0), tcp("le", le)...)
	}
	for _, le := range []string{"8", "16", "32", "64", "+Inf"} {
		add(metrics.LifetimeSeconds+"_bucket", false, total(i, 1), tcp("le", le)...)
	}
	add(metrics.LifetimeSeconds+"_sum", false, total(i, 6), tcp()...)
	add(metrics.LifetimeSeconds+"_count", false, total(i, 1), tcp()...)
	add(metrics.HoldSeconds+"_sum", false, total(i, 246), tcp()...)
	add(metrics.HoldSeconds+"_count", false, total(i, 1), tcp()...)
	machine := fmt.Sprintf("10.0.%d.%d:9100", i/250, i%250)
	add("node_cpu_seconds_total", true, func(minute int) float64 { return 48 * float64(minute) },
		"instance", machine, "mode", "idle", "cpu", "0")
	return all
}

// always is v at every minute.
func always(v float64) func(minute int) float64 { return func(int) float64 { return v } }

// total is a counter by minute that grows by each for each flow that node i opens.
func total(i int, each float64) func(minute int) float64 {
	sum, last := 0.0, -1
	return func(minute int) float64 {
		for ; last < minute; last++ {
			sum += 60 * each * rate(i, last+1)
		}
		return sum
	}
}

// sums are what rules record of the gateway's destinations.
func (f fleet) sums() (all []series) {
	for d := range f.destinations {
		all = append(all, series{
			labels.FromStrings(labels.MetricName, records.GatewayHeld, "budget", "web", "gateway", "nat-1", "protocol", "tcp",
				"destination", fmt.Sprintf("203.0.113.%d:443", d)), false,
			func(minute int) float64 { return float64(f.nodes) * math.Round(rate(0, minute)*246/float64(1+d)) },
		})
	}
	return all
}

// rate is the opens per second of node i.
func rate(i, minute int) float64 {
	opens := 2 + 0.1*float64(minute/1440%3)
	if minute/60%24 != 9 {
		opens /= 10
	}
	return opens * (1 + 0.02*math.Sin(float64(i+minute)))
}

// write writes a block for each day.
func (f fleet) write(data string) error {
	var all []series
	for i := range f.nodes {
		all = append(all, f.node(i)...)
	}
	if f.gateway && f.recorded {
		all = append(all, f.sums()...)
	}
	from := time.Now().Truncate(time.Hour).Add(-time.Duration(f.days) * 24 * time.Hour)
	ctx := context.Background()
	for day := range f.days {
		w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), data, (24 * time.Hour).Milliseconds())
		if err != nil {
			return err
		}
		refs := make([]storage.SeriesRef, len(all))
		for quarter := day * 1440 * quarters; quarter < (day+1)*1440*quarters; quarter++ {
			a := w.Appender(ctx)
			at := from.Add(time.Duration(quarter) * time.Minute / quarters).UnixMilli()
			for i := range all {
				s := &all[i]
				if !s.often && quarter%quarters > 0 {
					continue
				}
				if refs[i], err = a.Append(refs[i], s.labels, at, s.value(quarter/quarters)); err != nil {
					return err
				}
			}
			if err := a.Commit(); err != nil {
				return err
			}
		}
		if _, err := w.Flush(ctx); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		fmt.Printf("day %d of %d: %d series\n", day+1, f.days, len(all))
	}
	return nil
}
