package agent

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
)

// configure resolves c on this machine, flows leaving it where they did at the start, and keeps
// what came of it. On an error nothing has changed.
func (a *agent) configure(ctx context.Context, c *config.Config) error {
	m, err := config.Discover(ctx, c, a.outer, a.machine, a.metadata)
	if err != nil {
		return err
	}
	m.Standing = a.current()
	rejected := m.NodesUnread
	budgets, notes, err := c.Resolve(m)
	if err != nil { // perhaps for a pool size that was read
		good := lastGood(m, a.machine)
		unfit := readNodes(c, &good)
		if b, n, goodErr := c.Resolve(good); goodErr == nil {
			m, rejected, budgets, notes, err = good, unfit, b, n, nil
		}
	}
	if err != nil {
		return err
	}
	a.config, a.machine, a.asked = c, m, a.now()
	a.countRules(&m)
	a.notices.replace(slog.LevelInfo, "budgets", notes)
	a.mu.Lock()
	defer a.mu.Unlock()
	tellChanges(a.logger, a.budgets, budgets)
	a.budgets, a.stale = budgets, a.watched(rejected)
	a.reload = metrics.Reload{OK: true, At: time.Now()}
	return nil
}

// lastGood returns m with the pool sizes of before, for files that had one.
func lastGood(m, before config.Machine) config.Machine {
	m.Nodes = maps.Clone(m.Nodes)
	for file := range m.Nodes {
		if n := before.Nodes[file]; n != 0 {
			m.Nodes[file] = n
		}
	}
	return m
}

// reloadConfig reads the config again. The ledger keeps its flows; a config that is
// refused changes nothing. Some settings cannot change in a running agent, and a
// notice says so.
func (a *agent) reloadConfig(ctx context.Context) error {
	a.setup.Lock()
	defer a.setup.Unlock()
	err := a.tryReload(ctx)
	if err != nil {
		a.mu.Lock()
		a.reload.OK = false
		a.mu.Unlock()
		if n, ok := a.reloads.log(a.now(), err.Error()); ok {
			a.logger.Error("config refused, the one before stands", "err", err, "not_logged", n)
		}
		return err
	}
	if n, ok := a.reloads.log(a.now(), ""); ok {
		a.logger.Info("config reloaded", "budgets", len(a.current()), "not_logged", n)
	}
	return nil
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

func (a *agent) tryReload(ctx context.Context) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	fixed := fixedSettings(a.started, c)
	if c.Netns != a.started.Netns { // to be used after the restart
		outer, err := c.OpenOuter()
		if err != nil {
			return err
		}
		_ = outer.Close()
	}
	if err := a.configure(ctx, c); err != nil {
		return err
	}
	text := ""
	if fixed != "" {
		text = "restart the agent for the new " + fixed + " in its config"
	}
	a.notices.set("reload", text)
	return a.loop.setBudgets(ctx, a.current())
}

// fixedSettings names the settings that differ and take a restart.
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

func (a *agent) current() []*budget.Budget {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.budgets
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
		attrs := []any{"budget", b.Name, "model", b.Model, "tcp_ports", b.TCP.Ports, "udp_ports", b.UDP.Ports, "nodes", b.Nodes, "vips", b.VIPCount}
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
