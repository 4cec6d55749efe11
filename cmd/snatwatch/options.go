package main

import (
	"fmt"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/snatwatch/snatwatch/internal/config"
)

// options are the agent's flags. A flag that was given wins over the config; the
// zero value was not given.
type options struct {
	config       string
	source       string
	strategy     string
	pollInterval time.Duration
	netns        string
	cpuBudget    float64
	stateFile    string
	tracked      int
	forecast     int
	exported     int

	web       *web.FlagConfig
	listenSet bool
}

func (o *options) register(c *kingpin.CmdClause) {
	c.Flag("config", "Config file (YAML); without one the agent watches this machine as it finds it.").PlaceHolder("FILE").StringVar(&o.config)
	c.Flag("source", "Where flows are seen: auto, conntrack or sockets.").PlaceHolder("auto").EnumVar(&o.source, "auto", "conntrack", "sockets")
	c.Flag("strategy", "How conntrack is read: auto, poll or events.").PlaceHolder("auto").EnumVar(&o.strategy, "auto", "poll", "events")
	c.Flag("poll-interval", "Time between two dumps of conntrack.").PlaceHolder("2s").DurationVar(&o.pollInterval)
	c.Flag("netns", "Network namespace in which flows leave the machine, by path or by name below /run/netns; without it the agent's own.").PlaceHolder("PATH").StringVar(&o.netns)
	c.Flag("cpu-budget", "Fraction of one core that reading flows may take.").PlaceHolder("0.02").Float64Var(&o.cpuBudget)
	c.Flag("state-file", "File that keeps hold-time statistics over a restart.").PlaceHolder("FILE").StringVar(&o.stateFile)
	c.Flag("limits.tracked", "Destinations of one budget that are counted one by one.").PlaceHolder("10000").IntVar(&o.tracked)
	c.Flag("limits.forecast", "Destinations that are forecast.").PlaceHolder("1000").IntVar(&o.forecast)
	c.Flag("limits.exported", "Destinations of one budget and protocol that have series of their own.").PlaceHolder("50").IntVar(&o.exported)
	o.web = kingpinflag.AddFlags(c, ":9959")
	c.GetFlag("web.listen-address").IsSetByUser(&o.listenSet)
}

// load reads the config and lays the flags over it.
func (o *options) load() (*config.Config, error) {
	c, err := config.Load(o.config)
	if err != nil {
		return nil, err
	}
	override(&c.Source, config.Source(o.source))
	override(&c.Strategy, config.Strategy(o.strategy))
	override(&c.PollInterval, o.pollInterval)
	override(&c.Netns, o.netns)
	override(&c.CPUBudget, o.cpuBudget)
	override(&c.StateFile, o.stateFile)
	override(&c.Limits.Tracked, o.tracked)
	override(&c.Limits.Forecast, o.forecast)
	override(&c.Limits.Exported, o.exported)
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("config with the flags given: %w", err)
	}
	return c, nil
}

func override[T comparable](dst *T, given T) {
	var none T
	if given != none {
		*dst = given
	}
}

// listen returns the flags for the web server, with the config's address where the
// command line has none.
func (o *options) listen(c *config.Config) *web.FlagConfig {
	f := *o.web
	if !o.listenSet {
		f.WebListenAddresses = &[]string{c.Listen}
	}
	return &f
}
