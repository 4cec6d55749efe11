package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/records"
)

// history writes an hour of what expressions read, and a day of what tells who was an agent.
func (f fleet) history(store *tsdb.DB, expressions string) error {
	read := map[string]bool{}
	for _, name := range regexp.MustCompile(`[a-z][a-z_:0-9]+`).FindAllString(expressions, -1) {
		read[name] = true
	}
	end := time.Now().Truncate(step)
	if err := f.beside(store, string(metrics.AgentBuildInfo), end.Add(-back-step), lookback, 25*time.Hour,
		always(1), "version", "1"); err != nil {
		return err
	}
	if err := f.fill(store, end, int(back/step), func(name string) bool { return read[name] }); err != nil {
		return err
	}
	if err := f.beside(store, string(metrics.SoonestOwnerHeld), end, step, back, always(7), "budget", "nat", "destination",
		"203.0.113.0:443", "owner", "payments/checkout-7d9f", "owner_kind", "pod", "protocol", "tcp"); err != nil {
		return err
	}
	for cpu := range 2 {
		half := func(at float64) float64 { return at / 2 }
		if err := f.beside(store, "node_cpu_seconds_total", end, step, 10*time.Minute, half, "cpu", fmt.Sprint(cpu), "mode",
			"idle"); err != nil {
			return err
		}
	}
	return f.recorded(store)
}

// lookback is how old a sample may be for Prometheus to see it.
const lookback = 4 * time.Minute

func always(v float64) func(float64) float64 { return func(float64) float64 { return v } }

// beside writes a series of each node that the rules' fleet has not.
func (f fleet) beside(store *tsdb.DB, name string, end time.Time, every, past time.Duration,
	value func(float64) float64, of ...string,
) error {
	app := store.AppenderV2(context.Background())
	for i := range f.Nodes {
		if !f.has(i) {
			continue
		}
		l := labels.FromStrings(append([]string{
			labels.MetricName, name, "cluster", fmt.Sprintf("c%d", f.Cluster(i)),
			"instance", fmt.Sprintf("node-%d:9959", i), "job", "snatwatch",
		}, of...)...)
		if err := write(app, l, end, every, int(past/every), value); err != nil {
			return err
		}
	}
	return app.Commit()
}

// recorded writes an hour of what rules have recorded, a sample a minute.
func (f fleet) recorded(store *tsdb.DB) error {
	end := time.Now().Truncate(step)
	app := store.AppenderV2(context.Background())
	put := func(name string, value float64, of ...string) error {
		l := labels.FromStrings(append([]string{labels.MetricName, name}, of...)...)
		return write(app, l, end, time.Minute, int(back/time.Minute), func(at float64) float64 { return value + at/1e9 })
	}
	var err error
	try := func(name string, value float64, of ...string) {
		if err == nil {
			err = put(name, value, of...)
		}
	}
	horizons := []string{"1m", "5m", "15m", "1h"}
	for g := range f.Gateways {
		gateway := []string{
			"cluster", fmt.Sprintf("c%d", g%f.Clusters), "budget", "nat", "gateway",
			fmt.Sprintf("nat-%d", g), "protocol", "tcp",
		}
		for _, name := range []string{records.GatewayPorts, records.GatewayUnseen, records.GatewayOpened} {
			try(name, 55000, gateway...)
		}
		for d := range 50 {
			space := append(append([]string{}, gateway...), "destination", fmt.Sprintf("203.0.113.%d:443", d))
			try(records.GatewayHeld, float64(1000+d), space...)
			try(records.GatewayTime, float64(100*d), space...)
			for _, h := range horizons {
				try(records.GatewayProbability, float64(d)/1e3, append(space, "horizon", h)...)
				try(records.GatewayMean, float64(1000+d), append(space, "horizon", h)...)
			}
		}
	}
	for p := range 5 * f.Clusters {
		pool := []string{
			"cluster", fmt.Sprintf("c%d", p%f.Clusters), "budget", "nat", "pool", fmt.Sprintf("pool-%d", p),
			"protocol", "tcp",
		}
		for _, name := range []string{records.PoolHeld, records.PoolOpened, records.PoolFill} {
			try(name, float64(p), pool...)
		}
		for _, h := range horizons {
			of := []string{records.PoolMean, records.PoolVariance, records.PoolProbability, records.PoolExpected}
			for _, name := range of {
				try(name, float64(p), append(pool, "horizon", h)...)
			}
		}
	}
	for i := range f.Nodes {
		if f.has(i) {
			try(records.NodeFill, float64(i)/1e5, "cluster", fmt.Sprintf("c%d", f.Cluster(i)), "instance",
				fmt.Sprintf("node-%d:9959", i), "job", "snatwatch",
				"budget", "nat", "protocol", "tcp")
		}
	}
	if err != nil {
		return err
	}
	return app.Commit()
}
