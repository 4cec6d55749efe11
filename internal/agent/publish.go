package agent

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/web"
)

// publisher makes the State that package web serves, out of the parts of the agent.
type publisher struct {
	*base
	build    metrics.Build
	setup    *setup
	sensors  *sensors
	counters *counters
	owners   *owners // nil where nobody asks whose flows are

	state atomic.Pointer[web.State]
	// history is what the page charts; it needs no constructor.
	history web.History
	checks  checks
	unruled unruled
	race    string // the notice about flows that take one port
	// cpu is the loop's goroutine's; it needs no constructor.
	cpu share
	// ready is set when a first dump of the outer namespace is complete.
	ready atomic.Bool
}

// publish shows snap from now on. The loop's goroutine calls it, and Run once before that starts.
func (p *publisher) publish(snap *detector.Snapshot) {
	for _, n := range snap.Netns {
		if n.Netns == p.outer.Inode() && n.Exact && !p.ready.Swap(true) {
			p.logger.Info("ready: the first dump is complete", "flows", n.Flows)
		}
	}
	set := p.setup.show()
	stats := p.sensors.stats()
	snap, unseen := observed(snap, p.outer.Inode(), stats, p.sensors.remedy(), p.unruled.look(snap, set.ruleless))
	p.notices.set("unseen budgets", unseen)
	p.notices.set("local ports", localPortsText(snap))
	p.race = raceText(snap, p.counters.last.Load(), p.race)
	p.notices.set("port race", p.race)
	p.notices.replace(slog.LevelWarn, "ledger check", p.checks.look(snap))
	p.notices.settle()
	v := &metrics.View{
		Snapshot: snap, At: time.Now().Add(-p.now().Sub(snap.At)), Outer: []uint64{p.outer.Inode()},
		PoolStale: set.stale, Measures: web.Measures, Reload: set.reload, Build: p.build, NATRules: set.rules,
		CPUExceeded: set.rulesCostly,
	}
	spent := p.cpu.look(p.now(), cputime.Process(), p.started.CPUBudget)
	v.CPUExceeded = v.CPUExceeded || spent
	if k := p.counters.last.Load(); k != nil {
		v.Kernel = []metrics.Kernel{*k}
	}
	if a := p.counters.allowances.shown.Load(); a != nil {
		v.Allowances = *a
	}
	for _, st := range stats {
		v.Sources = append(v.Sources, st.shown...)
		v.CPUExceeded = v.CPUExceeded || st.cpuExceeded
		v.Causes.Further = append(v.Causes.Further, st.causes.Further...)
		v.Causes.Here = append(v.Causes.Here, st.causes.Here...)
		v.Causes.Local = append(v.Causes.Local, st.causes.Local...)
		v.Stalled = v.Stalled || st.stalled
	}
	v.Causes.Here = append(v.Causes.Here, portsCause(p.owners.forwards(), v.Stalled, p.counters.last.Load())...)
	p.history.Add(snap)
	p.state.Store(&web.State{
		View: v, Ready: p.ready.Load(), Notices: p.notices.list(), Budgets: set.budgets, Cloud: set.cloud,
	})
}

// age returns how old the current snapshot is.
func (p *publisher) age() time.Duration { return p.now().Sub(p.state.Load().View.Snapshot.At) }
