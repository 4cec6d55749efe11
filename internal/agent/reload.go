package agent

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/web"
)

// setup is what budgets are made of: the config, and what the machine and its cloud say.
type setup struct {
	*base
	load     func() (*config.Config, error)
	metadata cloud.Client
	loop     *loop // to hand budgets to
	// lookEvery is the time between two looks at the machine.
	lookEvery time.Duration

	// changes is held while budgets are made anew, until the loop has them. It guards what they are made of.
	changes sync.Mutex
	config  *config.Config
	machine config.Machine
	asked   collector.Time // when the cloud was asked last
	reloads reloadLog
	counted collector.Time // when the NAT rules were counted last
	readers *config.Readers

	mu   sync.Mutex // guards seen; held for moments only
	seen shown
}

// shown is what readers see of a setup.
type shown struct {
	budgets []*budget.Budget // those that are in place
	// stale has the budgets whose pool size comes from a file; true if the last good size is in use.
	stale  map[string]bool
	reload metrics.Reload // how the last one ended
	rules  *metrics.NATRules
	// ruleless: no rule of the outer namespace translates.
	ruleless bool
	cloud    *web.Cloud // nil where no cloud tells
	// rulesCostly: reading NAT rules takes more than the CPU budget.
	rulesCostly bool
}

// configure resolves c on this machine and puts the budgets in place that follow. Flows leave the machine in the outer
// namespace of the start, whatever c says. On an error nothing has changed.
func (s *setup) configure(ctx context.Context, c *config.Config) error {
	m, err := config.Discover(ctx, c, s.outer, s.machine, s.metadata)
	if err != nil {
		return err
	}
	m.Standing = s.current()
	rejected := m.NodesUnread
	budgets, notes, err := c.Resolve(m)
	if err != nil { // perhaps because of a pool size in a file
		good := lastGood(m, s.machine)
		unfit := readNodes(ctx, c, &good)
		if b, n, goodErr := c.Resolve(good); goodErr == nil {
			m, rejected, budgets, notes, err = good, unfit, b, n, nil
		}
	}
	if err != nil {
		return err
	}
	s.config, s.machine, s.asked = c, m, s.now()
	s.countRules(&m)
	s.showCloud(&m.Cloud)
	s.notices.replace(slog.LevelInfo, "budgets", notes)
	s.mu.Lock()
	defer s.mu.Unlock()
	tellChanges(s.logger, s.seen.budgets, budgets)
	s.seen.budgets, s.seen.stale = budgets, s.watched(rejected)
	s.seen.reload = metrics.Reload{OK: true, At: time.Now()}
	return nil
}

// lastGood returns m with the last good pool size of each file that had one.
func lastGood(m, before config.Machine) config.Machine {
	m.Nodes = maps.Clone(m.Nodes)
	for file := range m.Nodes {
		if n := before.Nodes[file]; n != 0 {
			m.Nodes[file] = n
		}
	}
	return m
}

// reload reads the config again. The ledger keeps its flows. A config with a mistake changes nothing. Some settings
// cannot change in a running agent; a notice names those that differ.
func (s *setup) reload(ctx context.Context) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	err := s.tryReload(ctx)
	if err != nil {
		s.mu.Lock()
		s.seen.reload.OK = false
		s.mu.Unlock()
		if n, ok := s.reloads.log(s.now(), err.Error()); ok {
			s.logger.Error("config refused, the last good one stays in place", "err", err, "not_logged", n)
		}
		return err
	}
	if n, ok := s.reloads.log(s.now(), ""); ok {
		s.logger.Info("config reloaded", "budgets", len(s.current()), "not_logged", n)
	}
	return nil
}

// reloadOnHangup reloads the config at each SIGHUP.
func (s *setup) reloadOnHangup(ctx context.Context, hangup func() (<-chan os.Signal, func())) error {
	signals, stop := hangup()
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-signals:
			_ = s.reload(ctx) // reload logs it
		}
	}
}

// logReloadsEvery is the least time between two log lines about reloads that ended alike.
const logReloadsEvery = time.Minute

// reloadLog keeps a script that reloads all the time from filling the log.
type reloadLog struct {
	last   string // how the reload ended that was logged last: its error's text
	at     collector.Time
	unsaid int // reloads since that were not logged
}

// log reports whether a reload that ended so is to be logged, and how many before it were not.
func (r *reloadLog) log(now collector.Time, end string) (unsaid int, ok bool) {
	if r.at != 0 && end == r.last && now.Sub(r.at) < logReloadsEvery {
		r.unsaid++
		return 0, false
	}
	unsaid = r.unsaid
	*r = reloadLog{last: end, at: now}
	return unsaid, true
}

func (s *setup) tryReload(ctx context.Context) error {
	c, err := s.load()
	if err != nil {
		return err
	}
	fixed := fixedSettings(s.started, c)
	if c.Netns != s.started.Netns { // the next start opens it, so it must be there
		outer, err := c.OpenOuter()
		if err != nil {
			return err
		}
		_ = outer.Close()
	}
	if err := s.configure(ctx, c); err != nil {
		return err
	}
	text := ""
	if fixed != "" {
		text = "restart the agent for the new " + fixed + " in its config"
	}
	s.notices.set("reload", text)
	return s.loop.setBudgets(ctx, s.current())
}

// fixedSettings names the settings that differ and that only a restart changes.
func fixedSettings(before, after *config.Config) string {
	var keys []string
	for _, s := range []struct {
		key     string
		differs bool
	}{
		{"listen", before.Listen != after.Listen},
		{"source", before.Source != after.Source},
		{"strategy", before.Strategy != after.Strategy},
		{"poll_interval", before.PollInterval != after.PollInterval},
		{"netns", before.Netns != after.Netns},
		{"cpu_budget", before.CPUBudget != after.CPUBudget},
		{"state_file", before.StateFile != after.StateFile},
		{"limits", before.Limits != after.Limits},
		{"forecast", before.Forecast != after.Forecast},
		{"shared_destinations", !slices.Equal(before.SharedDestinations, after.SharedDestinations)},
	} {
		if s.differs {
			keys = append(keys, s.key)
		}
	}
	return strings.Join(keys, ", ")
}

// current returns the budgets that are in place.
func (s *setup) current() []*budget.Budget {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.budgets
}

// show returns what readers see now.
func (s *setup) show() shown {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// tellChanges logs which budgets came, changed and went.
func tellChanges(logger *slog.Logger, before, after []*budget.Budget) {
	named := func(list []*budget.Budget, name string) *budget.Budget {
		if i := slices.IndexFunc(list, func(b *budget.Budget) bool { return b.Name == name }); i >= 0 {
			return list[i]
		}
		return nil
	}
	for _, b := range after {
		attrs := []any{
			"budget", b.Name, "model", b.Model, "tcp_ports", b.TCP.Ports, "udp_ports", b.UDP.Ports, "nodes",
			b.Nodes, "vips", b.VIPCount,
		}
		switch old := named(before, b.Name); {
		case old == nil:
			logger.Info("budget added", attrs...)
		case !reflect.DeepEqual(old, b):
			logger.Info("budget changed", append(attrs, "tcp_ports_before", old.TCP.Ports, "udp_ports_before", old.UDP.Ports)...)
		}
	}
	for _, b := range before {
		if named(after, b.Name) == nil {
			logger.Info("budget removed", "budget", b.Name)
		}
	}
}
