package main

import (
	"context"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
)

// machineEvery is how often the machine's own NAT rules, limits and pool sizes are
// looked at again.
const machineEvery = 10 * time.Second

// cloudEvery is how often the cloud is asked again, cloudHope for how long after the start
// one that never answered.
const (
	cloudEvery = time.Minute
	cloudHope  = 5 * time.Minute
)

// configure resolves c on this machine and keeps what came of it. On an error
// nothing has changed.
func (a *agent) configure(ctx context.Context, c *config.Config) error {
	m, err := config.Discover(ctx, c, a.metadata)
	if err != nil {
		return err
	}
	for file := range m.NodesUnread {
		if n := a.machine.Nodes[file]; n != 0 {
			m.Nodes[file] = n // the last good one stands
		}
	}
	if m.CloudUnread != nil && a.machine.Cloud.Provider != "" {
		m.Cloud = a.machine.Cloud
	}
	budgets, notes, err := c.Resolve(m)
	if err != nil {
		return err
	}
	a.config, a.machine, a.asked = c, m, a.now()
	a.notices.replace(slog.LevelInfo, "budgets", notes)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.budgets, a.stale = budgets, a.watched(m.NodesUnread)
	a.reload = metrics.Reload{OK: true, At: time.Now()}
	return nil
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
		a.logger.Error("config refused, the one before stands", "err", err)
		return err
	}
	a.logger.Info("config reloaded", "budgets", len(a.current()))
	return nil
}

func (a *agent) tryReload(ctx context.Context) error {
	c, err := a.options.load()
	if err != nil {
		return err
	}
	fixed := fixedSettings(a.started, c)
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

// fixedSettings names a setting that differs and takes a restart.
func fixedSettings(before, after *config.Config) string {
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
		{"forecast", before.Forecast != after.Forecast},
		{"forecast", before.Forecast != after.Forecast},
		{"shared_destinations", !slices.Equal(before.SharedDestinations, after.SharedDestinations)},
	} {
		if s.differs {
			return s.key
		}
	}
	return ""
}

func (a *agent) current() []*detector.Budget {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.budgets
}

// watchMachine follows what budgets are made of: the machine's NAT rules and limits,
// and pool sizes in files.
func (a *agent) watchMachine(ctx context.Context) error {
	ticker := time.NewTicker(machineEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		if err := a.lookAgain(ctx); err != nil {
			return err
		}
	}
}

// lookAgain puts the budgets in place that the machine leads to now. What cannot be
// read or used leaves the last good value in place, and marks the budgets that
// depend on it as stale.
func (a *agent) lookAgain(ctx context.Context) error {
	a.setup.Lock() // until the loop has them: a reload must not come in between
	defer a.setup.Unlock()
	m := a.machine
	if l, err := limits.Of(a.outer); err == nil {
		m.Limits = l
	}
	if slices.ContainsFunc(a.config.Budgets, func(b config.Budget) bool { return b.Model == config.ModelAuto }) {
		if r, err := natrules.Read(a.outer); err == nil {
			m.Rules = r
		}
	}
	a.askCloud(ctx, &m)
	rejected := a.readNodes(&m)
	budgets, notes, err := a.config.Resolve(m)
	if err != nil {
		a.notices.set("machine", "the budgets of before stand: "+err.Error())
		return nil
	}
	a.notices.set("machine", "")
	a.notices.replace(slog.LevelInfo, "budgets", notes)
	a.machine = m
	if !a.adopt(budgets, a.watched(rejected)) {
		return nil
	}
	if err := a.loop.setBudgets(ctx, budgets); err != nil {
		return err
	}
	a.logger.Info("budgets changed with the machine", "budgets", len(budgets))
	return nil
}

// adopt shows budgets from now on, and which pool sizes are stale; false if the budgets are
// those of before.
func (a *agent) adopt(budgets []*detector.Budget, stale map[string]bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stale = stale
	if reflect.DeepEqual(budgets, a.budgets) {
		return false
	}
	a.budgets = budgets
	return true
}

// askCloud puts what the cloud says now into m: a VIP that was added, or what it did not say
// when the machine had just started. A machine that is in no cloud is asked for a while only,
// because each question is an open that nobody answers.
func (a *agent) askCloud(ctx context.Context, m *config.Machine) {
	now := a.now()
	answers := m.Cloud.Provider != "" || m.CloudUnread != nil
	if !a.config.WantsCloud(*m) || now.Sub(a.asked) < cloudEvery || !answers && now.Sub(a.began) > cloudHope {
		return
	}
	a.asked = now
	said, err := a.metadata.Ask(ctx)
	switch {
	case err != nil:
		m.CloudUnread = err
	case said.Provider != "":
		m.Cloud, m.CloudUnread = said, nil
	}
}

// readNodes puts the watched pool sizes into m, one by one, so that a bad one does
// not keep a good one out. It returns why a file's size is not in use.
func (a *agent) readNodes(m *config.Machine) map[string]error {
	rejected := map[string]error{}
	for _, file := range a.config.NodesFiles() {
		n, err := config.ReadNodes(file)
		if err != nil {
			rejected[file] = err
			continue
		}
		with := *m
		with.Nodes = maps.Clone(m.Nodes)
		with.Nodes[file] = n
		if _, _, err := a.config.Resolve(with); err != nil {
			rejected[file] = err
			continue
		}
		*m = with
	}
	return rejected
}

// watched returns the budgets whose pool size is watched, and whether the last good one
// stands in for what was rejected.
func (a *agent) watched(rejected map[string]error) map[string]bool {
	stale := map[string]bool{}
	for _, b := range a.config.Budgets {
		if b.NodesFile == "" {
			continue
		}
		err, text := rejected[b.NodesFile], ""
		if err != nil {
			text = "budget " + b.Name + ": the last good pool size stands: " + err.Error()
		}
		stale[b.Name] = err != nil
		a.notices.set("pool "+b.Name, text)
	}
	return stale
}
