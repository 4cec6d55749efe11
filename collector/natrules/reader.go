package natrules

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// keepFor is how long a rule that is gone still counts: a firewall that is flushed and restored is without its rules
// for 1 to 14 seconds.
const keepFor = time.Minute

// Reader reads the rules of one namespace again and again. It asks the kernel for the number that changes with them, and
// reads them only if that, the addresses of interfaces or the rules of iptables-legacy have changed. The zero value is
// ready, and safe for concurrent use.
type Reader struct {
	mu    sync.Mutex
	inode uint64
	cache cache
	kept  []kept
}

// kept is a rule with when it was seen last.
type kept struct {
	rule Rule
	seen collector.Time
}

// Read returns the rules of ns at the time now. Those that went away less than a minute ago are among them, and say since when
// they are absent. Without CAP_NET_ADMIN there the error wraps fs.ErrPermission.
func (r *Reader) Read(ctx context.Context, ns *netns.Handle, now collector.Time) (s Ruleset, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inode != ns.Inode() { // another namespace, by the same name
		r.inode, r.cache, r.kept = ns.Inode(), cache{}, nil
	}
	if s, err = r.cache.read(ctx, ns); err != nil {
		return Ruleset{}, err
	}
	s.Rules = slices.Clone(s.Rules)
	r.keep(&s, now)
	return s, nil
}

// TakeCPU returns the processor time that reading has taken since the last call.
func (r *Reader) TakeCPU() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache.cpu.Take()
}

// keep adds what was there less than a minute ago, and remembers what is there now. Two things end the wait for a rule
// that is gone: a rule that was not there before, for then the firewall was changed and not restored, and a rule that gives
// out one of its VIPs, or masquerades as it did.
func (r *Reader) keep(s *Ruleset, now collector.Time) {
	masquerade, vips := false, map[netip.Addr]bool{}
	var still []kept
	for _, rule := range s.Rules {
		masquerade = masquerade || rule.Masquerade
		for _, v := range rule.VIPs {
			vips[v] = true
		}
		still = append(still, kept{rule, now})
	}
	if slices.ContainsFunc(s.Rules, r.isNew) {
		r.kept = nil
	}
	for _, k := range r.kept {
		replaced := k.rule.Masquerade && (masquerade || !r.cache.has(k.rule.VIPs)) ||
			slices.ContainsFunc(k.rule.VIPs, func(v netip.Addr) bool { return vips[v] })
		if replaced || now.Sub(k.seen) > keepFor {
			continue
		}
		still = append(still, k)
		k.rule.AbsentSince = k.seen
		s.Rules = append(s.Rules, k.rule)
	}
	r.kept = still
}

// isNew reports whether rule is none of those kept.
func (r *Reader) isNew(rule Rule) bool {
	return !slices.ContainsFunc(r.kept, func(k kept) bool {
		return k.rule.Same(rule) && k.rule.Masquerade == rule.Masquerade && k.rule.TCP == rule.TCP && k.rule.UDP == rule.UDP
	})
}

// has reports whether this machine has all of the addresses.
func (c *cache) has(addrs []netip.Addr) bool {
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return !slices.ContainsFunc(c.links, func(l link) bool { return slices.Contains(l.addrs, a) })
	})
}
