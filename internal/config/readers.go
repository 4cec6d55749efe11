package config

import (
	"context"
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

// group returns the groups of the rules of a namespace, the same as last time as long as the rules are the same slice.
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
