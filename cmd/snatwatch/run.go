package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/snatwatch/snatwatch/internal/agent"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/kube"
	"github.com/snatwatch/snatwatch/internal/record"
)

func runCommand(app *kingpin.Application) command {
	var o options
	c := app.Command("run", "The agent: watches this machine and serves metrics, an API and a page.").Default()
	o.register(c)
	return command{c, func(ctx context.Context, e *env, logger *slog.Logger) error {
		writes, err := o.writes()
		if err != nil {
			return err
		}
		kept, err := e.confine(writes)
		if err != nil {
			logger.Warn("not all rights given up", "err", err)
		}
		for _, k := range kept {
			logger.Info("right kept", "right", k)
		}
		return o.run(ctx, e, logger)
	}}
}

// options are the agent's flags. A given flag wins over the config.
type options struct {
	config       string
	source       flag[string]
	strategy     flag[string]
	pollInterval flag[time.Duration]
	netns        flag[string]
	cpuBudget    flag[float64]
	stateFile    flag[string]
	tracked      flag[int]
	forecast     flag[int]
	exported     flag[int]

	record recording

	web       *web.FlagConfig
	listenSet bool
	lifecycle bool
	profiling bool
}

// recording is what the agent writes of the flows that it sees; nothing without a directory.
type recording struct {
	record.Options
	complete func() error
}

func (r *recording) options() (*record.Options, error) {
	if r.Dir == "" {
		return nil, nil
	}
	return &r.Options, r.complete()
}

// flag is a setting on the command line; a zero or empty value counts as given too.
type flag[T any] struct {
	value T
	given bool
}

func (f flag[T]) over(dst *T) {
	if f.given {
		*dst = f.value
	}
}

func (o *options) register(c *kingpin.CmdClause) {
	c.Flag("config", "Config file (YAML); without one the agent watches this machine as it finds it.").
		PlaceHolder("FILE").StringVar(&o.config)
	c.Flag("source", "Source of flows: auto, conntrack or sockets.").PlaceHolder("auto").IsSetByUser(&o.source.given).
		EnumVar(&o.source.value, "auto", "conntrack", "sockets")
	c.Flag("strategy", "How the agent reads conntrack: auto, poll or events.").PlaceHolder("auto").
		IsSetByUser(&o.strategy.given).EnumVar(&o.strategy.value, "auto", "poll", "events")
	c.Flag("poll-interval", "Time between two dumps of conntrack.").PlaceHolder("2s").IsSetByUser(&o.pollInterval.given).
		DurationVar(&o.pollInterval.value)
	c.Flag("netns", "Network namespace in which flows leave the machine: a path, or a name below /run/netns. "+
		"Default: the agent's own.").PlaceHolder("PATH").IsSetByUser(&o.netns.given).StringVar(&o.netns.value)
	c.Flag("cpu-budget", "Fraction of one core that the agent may take. Reading flows slows down to fit it; "+
		"snat_cpu_budget_exceeded says that a minute took more.").PlaceHolder("0.02").IsSetByUser(&o.cpuBudget.given).
		Float64Var(&o.cpuBudget.value)
	c.Flag("state-file", "File that keeps hold-time statistics over a restart.").PlaceHolder("FILE").
		IsSetByUser(&o.stateFile.given).StringVar(&o.stateFile.value)
	c.Flag("limits.tracked", "Destinations of one budget that the ledger counts one by one.").PlaceHolder("10000").
		IsSetByUser(&o.tracked.given).IntVar(&o.tracked.value)
	c.Flag("limits.forecast", "Destinations that the agent forecasts.").PlaceHolder("1000").
		IsSetByUser(&o.forecast.given).IntVar(&o.forecast.value)
	c.Flag("limits.exported", "Destinations of one budget and protocol that have series of their own.").PlaceHolder("50").
		IsSetByUser(&o.exported.given).IntVar(&o.exported.value)
	c.Flag("record.out", "Directory in which to record the flows that conntrack shows, as the command record does but "+
		"without reading conntrack a second time.").PlaceHolder("DIR").StringVar(&o.record.Dir)
	o.record.complete = recordFlags(c, "record.", &o.record.Options)
	o.web = webFlags(c)
	c.GetFlag("web.listen-address").IsSetByUser(&o.listenSet)
	c.Flag("web.enable-lifecycle", "Let POST /-/reload reload the config; SIGHUP always does.").BoolVar(&o.lifecycle)
	c.Flag("web.enable-pprof", "Serve profiles of the agent at /debug/pprof/.").BoolVar(&o.profiling)
}

// webFlags are the flags of the agent's web server.
func webFlags(c *kingpin.CmdClause) *web.FlagConfig {
	f := kingpinflag.AddFlags(c, ":9959")
	c.GetFlag("web.listen-address").PlaceHolder(":9959").Help("Address that serves metrics, API and page, such as " +
		":9959, 127.0.0.1:9959, [::1]:9959 or vsock://:9959. May be repeated.")
	c.GetFlag("web.systemd-socket").Help("Listen on the sockets that systemd hands over, and on no address.")
	c.GetFlag("web.config.file").PlaceHolder("FILE").Help("File that sets up TLS and authentication, as Prometheus' " +
		"exporter toolkit reads it.")
	return f
}

// run runs the agent with these flags.
func (o *options) run(ctx context.Context, e *env, logger *slog.Logger) error {
	recorded, err := o.record.options()
	if err != nil {
		return err
	}
	return agent.Run(ctx, agent.Options{
		Load: o.load, File: o.config, Web: o.listen, Build: newBuild().Build,
		Metadata: e.metadata, Nodes: kube.NewNodes(kube.InCluster), Cluster: kube.InCluster, Hangup: e.hangup,
		Record: recorded, Lifecycle: o.lifecycle, Profiling: o.profiling, Logger: logger,
	})
}

// writes returns the folders that the agent writes to, an empty one where that is not known yet.
func (o *options) writes() (folders []string, err error) {
	if o.record.Dir != "" {
		folders = append(folders, o.record.Dir)
	}
	file := o.stateFile.value
	if info, err := os.Stat(o.config); !o.stateFile.given && err == nil {
		if !info.Mode().IsRegular() { // it can be read once
			return append(folders, ""), nil
		}
		c, err := config.Load(o.config)
		if err != nil {
			return nil, err
		}
		file = c.StateFile
	}
	if file != "" {
		folders = append(folders, filepath.Dir(file))
	}
	return folders, nil
}

// load reads the config and lays the flags over it.
func (o *options) load() (*config.Config, error) {
	c, err := config.Load(o.config)
	if err != nil {
		return nil, err
	}
	o.source.over((*string)(&c.Source))
	o.strategy.over((*string)(&c.Strategy))
	o.pollInterval.over(&c.PollInterval)
	o.netns.over(&c.Netns)
	o.cpuBudget.over(&c.CPUBudget)
	o.stateFile.over(&c.StateFile)
	o.tracked.over(&c.Limits.Tracked)
	o.forecast.over(&c.Limits.Forecast)
	o.exported.over(&c.Limits.Exported)
	c.CompleteLimits(o.forecast.given, o.exported.given)
	if err := c.Validate(); err != nil {
		return nil, o.ofFlags(err)
	}
	return c, nil
}

// ofFlags names the flag in place of the file where the mistake is in a flag: the file alone has none.
func (o *options) ofFlags(err error) error {
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		return err
	}
	all := true
	for _, m := range mistakes {
		of := false
		for key, given := range map[string]bool{
			"poll_interval": o.pollInterval.given, "cpu_budget": o.cpuBudget.given, "limits.tracked": o.tracked.given,
			"limits.forecast": o.forecast.given, "limits.exported": o.exported.given,
		} {
			if m.Key == key && given {
				m.File, m.Line, of = "--"+strings.ReplaceAll(key, "_", "-"), 0, true
			}
		}
		all = all && of
	}
	if all {
		return mistakes
	}
	return fmt.Errorf("config with the flags given: %w", mistakes)
}

// listen returns the flags of the web server, with the config's address if the command line has none.
func (o *options) listen(c *config.Config) *web.FlagConfig {
	f := *o.web
	if !o.listenSet {
		f.WebListenAddresses = &[]string{c.Listen}
	}
	return &f
}
