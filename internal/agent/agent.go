package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

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
	// Hangup delivers SIGHUP until stop is called.
	Hangup func() (signals <-chan os.Signal, stop func())
	// Lifecycle and Profiling add the routes that reload the config and that profile the agent.
	Lifecycle, Profiling bool

	Logger *slog.Logger
}

// agent holds what its goroutines share. Fields without a lock are set before the
// goroutines start.
type agent struct {
	load    func() (*config.Config, error)
	logger  *slog.Logger
	now     func() collector.Time
	build   metrics.Build
	outer   *netns.Handle
	notices *notices
	loop    *loop
	began   collector.Time
	// started is the config at the start: what fixedSettings names is taken from it.
	started *config.Config

	metadata cloud.Client
	// chooseEvery is the time between two looks at which source is best.
	chooseEvery time.Duration

	state  atomic.Pointer[web.State]
	kernel atomic.Pointer[[]metrics.Kernel]
	ready  atomic.Bool
	// tracked counts the flows that the conntrack source saw open.
	tracked atomic.Uint64

	setup   sync.Mutex // guards what budgets are made of
	config  *config.Config
	machine config.Machine
	asked   collector.Time // when the cloud was asked last
	reloads reloadLog
	counted collector.Time // when the NAT rules were counted last
	readers *config.Readers

	mu      sync.Mutex // guards what publish shows; held for moments only
	budgets []*budget.Budget
	reload  metrics.Reload
	stale   map[string]bool
	sources []source
	rules   *metrics.NATRules
	// rulesCostly: reading NAT rules takes more than the CPU budget.
	rulesCostly bool
}

// Run runs the agent until ctx is cancelled or nothing can be seen any more.
func Run(ctx context.Context, o Options) error {
	logger := o.Logger
	c, err := o.Load()
	if err != nil {
		return err
	}
	outer, err := config.OpenNetns(c.Netns)
	if err != nil {
		return fmt.Errorf("netns: %w", err)
	}
	defer func() { _ = outer.Close() }()
	a := &agent{
		load: o.Load, logger: logger, now: collector.Clock(), build: o.Build, outer: outer, started: c,
		notices: newNotices(logger), metadata: o.Metadata, chooseEvery: chooseEvery,
	}
	a.readers = config.NewReaders(a.now)
	a.machine.Readers = a.readers
	a.began = a.now()
	logger.Info("starting", "version", a.build.Version, "revision", a.build.Revision, "config", cmp.Or(o.File, "embedded default"), "netns", outer.Inode())
	if err := a.configure(ctx, c); err != nil {
		return err
	}
	a.loop = newLoop(a.now, a.budgets, a.publish, a.newLedger(c))
	a.loadState(c.StateFile)
	a.publish(&detector.Snapshot{At: a.now(), Warming: true})

	asked := ctx
	g, ctx := errgroup.WithContext(ctx)
	server, err := web.New(web.Config{
		// A reload that was asked for is carried through, whether or not the client stays.
		State: a.state.Load, Reload: func() error { return a.reloadConfig(ctx) }, Logger: logger,
		Lifecycle: o.Lifecycle, Profiling: o.Profiling,
		Age: func() time.Duration { return a.now().Sub(a.state.Load().View.Snapshot.At) },
	})
	if err != nil {
		return err
	}
	loopEnded := make(chan struct{})
	g.Go(func() error {
		defer close(loopEnded)
		return a.loop.run(ctx)
	})
	g.Go(func() error { return a.keepState(ctx, c.StateFile, loopEnded) })
	g.Go(func() error { return a.runSources(ctx) })
	g.Go(func() error { return a.watchKernel(ctx) })
	g.Go(func() error { return a.watchMachine(ctx) })
	g.Go(func() error { return a.reloadOnHangup(ctx, o.Hangup) })
	g.Go(func() error { return a.tellSystemd(ctx) })
	g.Go(func() error { return server.Serve(ctx, o.Web(c)) })
	err = g.Wait()
	if asked.Err() != nil {
		logger.Info("stopped: it was asked to")
	}
	return err
}

// newLedger returns what makes a ledger, with a secret of its own so that nobody who
// opens flows can choose where they fall in its table.
func (a *agent) newLedger(c *config.Config) func(local bool, budgets []*budget.Budget) *ledger.Ledger {
	return func(_ bool, budgets []*budget.Budget) *ledger.Ledger {
		var key [16]byte
		_, _ = rand.Read(key[:]) // never fails: crypto/rand
		shared := make([]string, len(c.SharedDestinations))
		for i, d := range c.SharedDestinations {
			shared[i] = string(d)
		}
		return ledger.New(ledger.Config{
			Budgets: budgets, Shared: shared, Start: a.now(),
			TrackedMax: c.Limits.Tracked, ForecastMax: forecastMax(c), ExportedMax: c.Limits.Exported,
			Key: [2]uint64{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])},
		})
	}
}

// forecastMax is none, which the ledger writes as a negative number, where the forecast is off.
func forecastMax(c *config.Config) int {
	if !c.Forecast.Enabled || c.Limits.Forecast == 0 {
		return -1
	}
	return c.Limits.Forecast
}

// publish is called by the ledger's goroutine alone, but for once before it starts.
func (a *agent) publish(snap *detector.Snapshot) {
	for _, n := range snap.Netns {
		if n.Netns == a.outer.Inode() && n.Exact && !a.ready.Swap(true) {
			a.logger.Info("ready: the first dump is complete", "flows", n.Flows)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &metrics.View{
		Snapshot: snap, At: time.Now().Add(-a.now().Sub(snap.At)), Outer: []uint64{a.outer.Inode()},
		PoolStale: a.stale, Reload: a.reload, Build: a.build, NATRules: a.rules, CPUExceeded: a.rulesCostly,
	}
	if k := a.kernel.Load(); k != nil {
		v.Kernel = *k
	}
	for _, s := range a.sources {
		st := s.stats()
		v.Sources = append(v.Sources, st.shown...)
		v.CPUExceeded = v.CPUExceeded || st.cpuExceeded
		v.Causes = append(v.Causes, st.causes...)
		v.Stalled = v.Stalled || st.stalled
	}
	a.state.Store(&web.State{View: v, Ready: a.ready.Load(), Notices: a.notices.list(), Budgets: a.budgets})
}

// reloadOnHangup reloads the config at each SIGHUP.
func (a *agent) reloadOnHangup(ctx context.Context, hangup func() (<-chan os.Signal, func())) error {
	signals, stop := hangup()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-signals:
			_ = a.reloadConfig(ctx) // logged there
		}
	}
}
