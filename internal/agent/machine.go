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

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/web"
)

// machineEvery is how often the agent reads the machine's NAT rules, limits and pool sizes again.
const machineEvery = 10 * time.Second

// cloudEvery is how often the agent asks the cloud again. It asks a cloud that never answered for cloudHope after the
// start.
const (
	cloudEvery = time.Minute
	cloudHope  = 5 * time.Minute
)

// watch reads again and again what budgets are made of: the machine's NAT rules and limits, pool sizes in files, the
// cloud's metadata. It reads at once when flows come that are in no budget though this machine's NAT translates them:
// a rule or an address is new. Where that changes nothing, nobody wants them counted, and it waits for the next time.
func (s *setup) watch(ctx context.Context) error {
	ticker := time.NewTicker(s.lookEvery)
	defer ticker.Stop()
	untaken := s.loop.untaken
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			untaken = s.loop.untaken
		case <-untaken:
			untaken = nil
		}
		if s.outerGone() {
			return fmt.Errorf("%w: nobody uses network namespace %s any more", errNoSource, s.started.Netns)
		}
		before := s.current()
		if err := s.lookAgain(ctx); err != nil {
			return err
		}
		if !slices.Equal(s.current(), before) {
			untaken = s.loop.untaken
		}
	}
}

// outerGone reports whether only this agent keeps the outer namespace alive: the name in the config leads elsewhere,
// and no process or mount that the agent can see leads to it.
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

// lookAgain puts the budgets in place that follow from the machine as it is now. If a value cannot be read or used, the
// last good one stays, and the budgets that depend on it are marked as stale.
func (s *setup) lookAgain(ctx context.Context) error {
	s.changes.Lock() // until the loop has them: a reload must not come in between
	defer s.changes.Unlock()
	m := s.machine
	if l, err := limits.Of(s.outer); err == nil {
		m.Limits = l
	}
	m.Addresses = config.OwnAddresses(s.outer, m.Addresses)
	s.notices.replace(slog.LevelWarn, "rules", m.ReadRules(ctx, s.config, s.outer))
	s.countRules(&m)
	m.Standing = s.current()
	s.readNetns(&m)
	s.askCloud(ctx, &m)
	rejected := readNodes(ctx, s.config, &m)
	budgets, notes, err := s.config.Resolve(m)
	if err != nil {
		s.notices.set("machine", "the last good budgets stay in place: "+err.Error())
		return nil
	}
	s.notices.set("machine", "")
	s.notices.replace(slog.LevelInfo, "budgets", notes)
	s.machine = m
	s.showCloud(&m.Cloud)
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
	s.seen.ruleless = ruleless(&m.Rules)
	s.seen.rules, s.seen.rulesCostly = counts, share > s.started.CPUBudget
}

// showCloud shows where the machine is from now on.
func (s *setup) showCloud(m *cloud.Metadata) {
	var c *web.Cloud
	if m.Provider != "" {
		c = &web.Cloud{Provider: m.Provider, Region: m.Region, Zone: m.Zone, Instance: m.Instance}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.cloud = c
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

// adopt shows budgets from now on, and which pool sizes are stale. It returns false if the budgets did not change.
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

// askCloud puts what the cloud says now into m: an added VIP, or what it did not say when the machine had just started.
// On a machine in no cloud the agent asks for a while only: each question opens a flow that gets no answer, or one
// from a stranger.
func (s *setup) askCloud(ctx context.Context, m *config.Machine) {
	now := s.now()
	answers := m.Cloud.Provider != "" || m.CloudUnread != nil
	if !s.config.WantsCloud() || now.Sub(s.asked) < cloudEvery || !answers && now.Sub(s.began) > cloudHope {
		return
	}
	s.asked = now
	m.AskCloud(ctx, s.metadata)
}

// readNetns puts into m where the names of namespaces lead now: a namespace that was made again is another one.
func (s *setup) readNetns(m *config.Machine) {
	var unread map[string]error
	m.Netns, m.NetnsLimits, unread = s.config.ReadNetns(m.Netns)
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(unread)) {
		texts = append(texts, fmt.Sprintf("the budgets of network namespace %s see nothing: %v", name, unread[name]))
	}
	s.notices.replace(slog.LevelWarn, "netns", texts)
}

// readNodes puts the watched pool sizes into m, one by one, so that a bad size does not keep a good one out of c's
// budgets. It returns, by pool, why a size is not in use.
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

// watched returns the budgets whose pool size is watched: true if it was rejected and the last good
// one stays in use.
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
			text = "budget " + b.Name + ": the last good pool size stays in use: " + err.Error()
		}
		stale[b.Name] = err != nil
		s.notices.set("pool "+b.Name, text)
	}
	return stale
}
