package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/kube"
	"github.com/snatwatch/snatwatch/internal/record"
	"github.com/snatwatch/snatwatch/internal/web"
)

// Options are what Run takes; all of it is needed.
type Options struct {
	// Load reads the config with the flags laid over it, at the start and at each reload.
	Load func() (*config.Config, error)
	// File is the config file's name for the log, empty without one.
	File string
	// Web returns where and how a config makes the server listen.
	Web func(*config.Config) *toolkit.FlagConfig
	// Build is what the binary says of itself.
	Build metrics.Build
	// Metadata asks the cloud what it knows of this machine.
	Metadata cloud.Client
	// Nodes counts the nodes of the cluster.
	Nodes *kube.Nodes
	// Cluster returns a client for the API server that names pods; kube.ErrNoCluster where there is none.
	Cluster func() (*kube.Client, error)
	// Hangup delivers SIGHUP until stop is called.
	Hangup func() (signals <-chan os.Signal, stop func())
	// Record says where the flows are recorded that conntrack shows; nil: they are not.
	Record *record.Options
	// Lifecycle and Profiling add the routes that reload the config and that profile the agent.
	Lifecycle, Profiling bool

	Logger *slog.Logger
}

// agent is all parts of a running agent. Each owns its fields, and the goroutines that Run starts for it.
type agent struct {
	*base
	setup     *setup
	loop      *loop
	sensors   *sensors
	counters  *counters
	publisher *publisher
	owners    *owners
}

// newAgent makes an agent of the config c, with flows leaving the machine in outer. Nothing runs yet.
func newAgent(ctx context.Context, o Options, c *config.Config, outer *netns.Handle) (*agent, error) {
	b := &base{logger: o.Logger, now: collector.Clock(), notices: newNotices(o.Logger), outer: outer, started: c}
	b.began = b.now()
	a := &agent{base: b, setup: &setup{
		base: b, load: o.Load, metadata: o.Metadata, readers: config.NewReaders(b.now), lookEvery: machineEvery,
	}}
	a.setup.machine.Readers, a.setup.machine.CountNodes = a.setup.readers, o.Nodes.Count
	if err := a.setup.configure(ctx, c); err != nil {
		return nil, err
	}
	a.sensors = &sensors{base: b, setup: a.setup, chooseEvery: chooseEvery, record: o.Record}
	a.counters, a.owners = newCounters(b), newOwners(b)
	a.publisher = &publisher{
		base: b, build: o.Build, setup: a.setup, sensors: a.sensors, counters: a.counters, owners: a.owners,
	}
	a.loop = newLoop(b.now, a.setup.current(), a.publisher.publish, newLedger(c, b.now, a.owners.table.Whole))
	a.setup.loop, a.sensors.loop, a.counters.loop = a.loop, a.loop, a.loop
	a.loop.owners = a.owners
	return a, nil
}

// checkWeb refuses flags of the web server that it would refuse only once the agent runs.
func checkWeb(flags *toolkit.FlagConfig) error {
	for _, a := range *flags.WebListenAddresses {
		if !strings.HasPrefix(a, "vsock://") && !config.Listenable(a) {
			return fmt.Errorf("--web.listen-address: %s: want an address such as :9959 or 127.0.0.1:9959", a)
		}
	}
	if file := *flags.WebConfigFile; file != "" {
		if err := toolkit.Validate(file); err != nil {
			return fmt.Errorf("--web.config.file: %s: %w", file, err)
		}
	}
	return nil
}

// Run runs the agent until ctx is cancelled or nothing can be seen any more.
func Run(ctx context.Context, o Options) error {
	logger := o.Logger
	c, err := o.Load()
	if err != nil {
		return err
	}
	if err := checkWeb(o.Web(c)); err != nil {
		return err
	}
	outer, err := config.OpenNetns(c.Netns)
	if err != nil {
		return fmt.Errorf("netns: %w", err)
	}
	defer func() { _ = outer.Close() }()
	logger.Info("starting", "version", o.Build.Version, "revision", o.Build.Revision, "config",
		cmp.Or(o.File, "embedded default"), "netns", outer.Inode())
	a, err := newAgent(ctx, o, c, outer)
	if err != nil {
		return err
	}
	state := &stateFile{base: a.base, path: c.StateFile, loop: a.loop}
	state.load()
	a.publisher.publish(&detector.Snapshot{At: a.now(), Warming: true})

	a.owners.watcher.Look(ctx)

	asked := ctx
	g, ctx := errgroup.WithContext(ctx)
	server, err := web.New(web.Config{
		// A reload goes on to its end even if the client goes away.
		State: a.publisher.state.Load, Reload: func() error { return a.setup.reload(ctx) }, Logger: logger,
		Lifecycle: o.Lifecycle, Profiling: o.Profiling, Age: a.publisher.age, History: &a.publisher.history,
	})
	if err != nil {
		return err
	}
	loopEnded := make(chan struct{})
	g.Go(func() error {
		defer close(loopEnded)
		return a.loop.run(ctx)
	})
	g.Go(func() error { return state.keep(ctx, loopEnded) })
	g.Go(func() error { return a.sensors.run(ctx) })
	g.Go(func() error { return a.owners.run(ctx) })
	g.Go(func() error { return a.owners.followPods(ctx, o.Cluster) })
	g.Go(func() error { return a.counters.run(ctx) })
	g.Go(func() error { return a.setup.watch(ctx) })
	g.Go(func() error { return a.setup.watchNodes(ctx, o.Nodes) })
	g.Go(func() error { return a.setup.reloadOnHangup(ctx, o.Hangup) })
	g.Go(func() error { return a.publisher.tellSystemd(ctx) })
	g.Go(func() error { return server.Serve(ctx, o.Web(c)) })
	err = g.Wait()
	if asked.Err() != nil {
		logger.Info("stopped as asked")
	}
	return err
}

// newLedger returns a function that makes a ledger. All have one secret key, so that nobody who opens flows can
// choose the places they take in its hash table. whole is as in owner.Table.
func newLedger(c *config.Config, now func() collector.Time,
	whole func(collector.OwnerNumber) collector.OwnerNumber,
) func(budgets []*budget.Budget) *ledger.Ledger {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails: crypto/rand
	return func(budgets []*budget.Budget) *ledger.Ledger {
		shared := make([]string, len(c.SharedDestinations))
		for i, d := range c.SharedDestinations {
			shared[i] = string(d)
		}
		return ledger.New(ledger.Config{
			Budgets: budgets, Shared: shared, Start: now(), Owners: true, Whole: whole,
			TrackedMax: c.Limits.Tracked, ForecastMax: forecastMax(c), ExportedMax: c.Limits.Exported,
			Key: [2]uint64{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])},
		})
	}
}

// forecastMax returns how many destinations the ledger forecasts: -1, which means none, if the forecast is off.
func forecastMax(c *config.Config) int {
	if !c.Forecast.Enabled || c.Limits.Forecast == 0 {
		return -1
	}
	return c.Limits.Forecast
}
