package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector/budget"
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

// watch follows what budgets are made of: the machine's NAT rules and limits,
// and pool sizes in files.
func (s *setup) watch(ctx context.Context) error {
	return every(ctx, machineEvery, func() error {
		if s.outerGone() {
			return fmt.Errorf("%w: nobody uses network namespace %s any more", errNoSource, s.started.Netns)
		}
		return s.lookAgain(ctx)
	})
}

// outerGone reports whether the namespace that was named is kept by this agent alone: its name leads
// elsewhere, and no process or mount that can be seen leads to it.
func (s *setup) outerGone() bool {
	own, err := netns.Own()
	if err != nil || own == s.outer.Inode() {
		return false
	}
	if h, err := config.OpenNetns(s.started.Netns); err == nil {
		there := h.Inode() == s.outer.Inode()
		_ = h.Close()
		if there {
			return false
		}
	}
	list, err := netns.Finder{}.Find()
	var denied *netns.AccessError
	if err != nil && !errors.As(err, &denied) {
		return false
	}
	return !slices.ContainsFunc(list, func(n netns.Netns) bool { return n.Inode == s.outer.Inode() })
}

// lookAgain puts the budgets in place that the machine leads to now. What cannot be
// read or used leaves the last good value in place, and marks the budgets that
// depend on it as stale.
func (s *setup) lookAgain(ctx context.Context) error {
	s.changes.Lock() // until the loop has them: a reload must not come in between
	defer s.changes.Unlock()
	m := s.machine
	if l, err := limits.Of(s.outer); err == nil {
		m.Limits = l
	}
	s.notices.replace(slog.LevelWarn, "rules", m.ReadRules(ctx, s.config, s.outer))
	s.countRules(&m)
	m.Standing = s.current()
	s.readNetns(&m)
	s.askCloud(ctx, &m)
	rejected := readNodes(ctx, s.config, &m)
	budgets, notes, err := s.config.Resolve(m)
	if err != nil {
		s.notices.set("machine", "the budgets of before stand: "+err.Error())
		return nil
	}
	s.notices.set("machine", "")
	s.notices.replace(slog.LevelInfo, "budgets", notes)
	s.machine = m
	if !s.adopt(budgets, s.watched(rejected)) {
		return nil
	}
	return s.loop.setBudgets(ctx, budgets)
}

// countRules shows what became of the machine's NAT rules, and whether reading them takes more than the CPU budget.
func (s *setup) countRules(m *config.Machine) {
	now := s.now()
	share := 0.0
	if took := m.Readers.TakeCPU(); s.counted != 0 {
		share = took.Seconds() / max(now.Sub(s.counted), time.Second).Seconds()
	}
	counts := ruleCounts(m)
	s.counted = now
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.rules, s.seen.rulesCostly = counts, share > s.started.CPUBudget
}

// ruleCounts counts the NAT rules that were read, nil where none were looked for or none could be.
func ruleCounts(m *config.Machine) *metrics.NATRules {
	var n metrics.NATRules
	read := false
	for _, s := range append(slices.Collect(maps.Values(m.NetnsRules)), m.Rules) {
		if s.Read {
			read = true
			n.Read, n.NotRead, n.Shadowed = n.Read+s.Translating, n.NotRead+s.Unknown, n.Shadowed+s.Shadowed
		}
	}
	if !read {
		return nil
	}
	return &n
}

// adopt shows budgets from now on, and which pool sizes are stale; false if the budgets are
// those of before.
func (s *setup) adopt(budgets []*budget.Budget, stale map[string]bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.stale = stale
	if reflect.DeepEqual(budgets, s.seen.budgets) {
		return false
	}
	tellChanges(s.logger, s.seen.budgets, budgets)
	s.seen.budgets = budgets
	return true
}

// askCloud puts what the cloud says now into m: a VIP that was added, or what it did not say
// when the machine had just started. A machine that is in no cloud asks for a while only,
// because each question is an open that nobody answers, or somebody else.
func (s *setup) askCloud(ctx context.Context, m *config.Machine) {
	now := s.now()
	answers := m.Cloud.Provider != "" || m.CloudUnread != nil
	if !s.config.WantsCloud(*m) || now.Sub(s.asked) < cloudEvery || !answers && now.Sub(s.began) > cloudHope {
		return
	}
	s.asked = now
	m.AskCloud(ctx, s.metadata)
}

// readNetns puts into m where the names of namespaces lead now: one that was made anew is another.
func (s *setup) readNetns(m *config.Machine) {
	inodes, unread := s.config.ReadNetns(m.Netns)
	m.Netns = inodes
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(unread)) {
		texts = append(texts, fmt.Sprintf("the budgets of network namespace %s see nothing: %v", name, unread[name]))
	}
	s.notices.replace(slog.LevelWarn, "netns", texts)
}

// readNodes puts the watched pool sizes into m, one by one, so that a bad one does
// not keep a good one out of c's budgets. It returns why a size is not in use, by its pool.
func readNodes(ctx context.Context, c *config.Config, m *config.Machine) map[string]error {
	rejected := map[string]error{}
	for _, pool := range c.Pools() {
		name := pool.String()
		n, err := pool.Size(ctx, m.CountNodes)
		if err != nil {
			rejected[name] = err
			continue
		}
		with := *m
		with.Nodes = maps.Clone(m.Nodes)
		with.Nodes[name] = n
		if _, _, err := c.Resolve(with); err != nil {
			rejected[name] = err
			continue
		}
		*m = with
	}
	return rejected
}

// watched returns the budgets whose pool size is watched, and whether the last good one
// stands in for what was rejected.
func (s *setup) watched(rejected map[string]error) map[string]bool {
	stale := map[string]bool{}
	for i := range s.config.Budgets {
		b := &s.config.Budgets[i]
		pool := b.PoolSource()
		if pool == (config.Pool{}) {
			continue
		}
		err, text := rejected[pool.String()], ""
		if err != nil {
			text = "budget " + b.Name + ": the last good pool size stands: " + err.Error()
		}
		stale[b.Name] = err != nil
		s.notices.set("pool "+b.Name, text)
	}
	return stale
}
