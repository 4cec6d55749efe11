package config

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Readers keep what was read of NAT rules from one look to the next. nil reads everything each time.
type Readers struct {
	now    func() collector.Time
	mu     sync.Mutex
	byName map[string]*natrules.Reader
	groups map[string]grouping
}

// NewReaders returns Readers by a clock.
func NewReaders(now func() collector.Time) *Readers {
	return &Readers{now: now, byName: map[string]*natrules.Reader{}, groups: map[string]grouping{}}
}

// Read returns the NAT rules of a namespace, ns, that the configuration calls name.
func (r *Readers) Read(ctx context.Context, name string, ns *netns.Handle) (natrules.Ruleset, error) {
	if r == nil {
		return natrules.Read(ns)
	}
	r.mu.Lock()
	reader := r.byName[name]
	if reader == nil {
		reader = &natrules.Reader{}
		r.byName[name] = reader
	}
	r.mu.Unlock()
	return reader.Read(ctx, ns, r.now())
}

// group returns the groups of the rules of a namespace, those of last time as long as the rules are the same slice.
func (r *Readers) group(name string, rules []natrules.Rule) grouping {
	if r == nil || len(rules) == 0 {
		return groupRules(rules)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	g, ok := r.groups[name]
	if !ok || len(g.of) != len(rules) || &g.of[0] != &rules[0] {
		g = groupRules(rules)
		r.groups[name] = g
	}
	return g
}

// TakeCPU returns the processor time that reading has taken since the last call.
func (r *Readers) TakeCPU() (sum time.Duration) {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, reader := range r.byName {
		sum += reader.TakeCPU()
	}
	return sum
}

// ReadRules puts the NAT rules into m that budgets are made of or compared with. It returns why some cannot be
// read, which stay what they were.
func (m *Machine) ReadRules(ctx context.Context, c *Config, outer *netns.Handle) (texts []string) {
	if c.wantsRules() {
		s, err := m.Readers.Read(ctx, "", outer)
		if err == nil {
			m.Rules, m.RulesUnread = s, false
		} else {
			m.RulesUnread = !m.Rules.Read
			texts = append(texts, unreadText(err, "this machine", outer != nil && !outer.Governed()))
		}
	}
	read := maps.Clone(m.NetnsRules)
	if read == nil {
		read = map[string]natrules.Ruleset{}
	}
	done := map[string]bool{"": true}
	for i := range c.Budgets {
		b := &c.Budgets[i]
		if done[b.Netns] || !b.followsRules() {
			continue
		}
		done[b.Netns] = true
		s, err := m.readRulesOf(ctx, b.Netns)
		if err != nil {
			texts = append(texts, unreadText(err, "network namespace "+b.Netns, false))
			continue
		}
		read[b.Netns] = s
	}
	m.NetnsRules = read
	return texts
}

func (m *Machine) readRulesOf(ctx context.Context, name string) (natrules.Ruleset, error) {
	ns, err := OpenNetns(name)
	if err != nil {
		return natrules.Ruleset{}, err
	}
	defer func() { _ = ns.Close() }()
	return m.Readers.Read(ctx, name, ns)
}
