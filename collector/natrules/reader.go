package natrules

import (
	"context"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// keepFor is how long a rule that is gone still counts: a firewall that is flushed and restored is without its rules
// for 1 to 14 seconds.
const keepFor = time.Minute

// Reader reads the rules of one namespace again and again. It asks the kernel for the number that changes with
// them, and reads them only if that, the addresses of interfaces or the rules of iptables-legacy have changed. The
// zero value is ready, and safe for concurrent use.
type Reader struct {
	mu    sync.Mutex
	inode uint64
	cache cache
	// there are the rules of the last look, which was at the time looked; reads is how often the cache had read then.
	there  []Rule
	looked collector.Time
	reads  int
	absent []Rule
}

// Read returns the rules of ns at the time now. Those that went away less than a minute ago are among them, and say
// since when they are absent. Rules are the same slice as long as nothing changes, and not to be written to. Without
// CAP_NET_ADMIN there the error wraps fs.ErrPermission.
func (r *Reader) Read(ctx context.Context, ns *netns.Handle, now collector.Time) (s Ruleset, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inode != ns.Inode() { // another namespace, by the same name
		r.inode, r.cache, r.there, r.absent, r.reads = ns.Inode(), cache{}, nil, nil, 0
	}
	if s, err = r.cache.read(ctx, ns); err != nil {
		return Ruleset{}, err
	}
	if r.reads != r.cache.reads {
		r.compare(s.Rules)
		r.there, r.reads = s.Rules, r.cache.reads
	}
	r.looked = now
	r.absent = slices.DeleteFunc(r.absent, func(a Rule) bool { return now.Sub(a.AbsentSince) > keepFor })
	if len(r.absent) > 0 {
		s.Rules = slices.Concat(s.Rules, r.absent)
	}
	return s, nil
}

// TakeCPU returns the processor time that reading has taken since the last call.
func (r *Reader) TakeCPU() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cache.cpu.Take()
}

// compare notes which rules of before are absent from now on. Two things end the wait for a rule that is gone: a rule
// that was not there before, for then the firewall was changed and not restored, and a rule that gives out one of
// its VIPs, or masquerades as it did.
func (r *Reader) compare(rules []Rule) {
	before := map[string]bool{}
	for _, of := range [][]Rule{r.there, r.absent} {
		for i := range of {
			before[gift(&of[i])] = true
		}
	}
	masquerade, isNew := false, false
	vips, still := map[netip.Addr]bool{}, map[string]bool{}
	for i := range rules {
		masquerade = masquerade || rules[i].Masquerade
		key := gift(&rules[i])
		still[key] = true
		isNew = isNew || !before[key]
		for _, v := range rules[i].VIPs {
			vips[v] = true
		}
	}
	if isNew {
		r.absent = nil
		return
	}
	for _, rule := range r.there {
		rule.AbsentSince = r.looked
		r.absent = append(r.absent, rule)
	}
	r.absent = slices.DeleteFunc(r.absent, func(a Rule) bool {
		return still[gift(&a)] || a.Masquerade && (masquerade || !r.cache.has(a.VIPs)) ||
			slices.ContainsFunc(a.VIPs, func(v netip.Addr) bool { return vips[v] })
	})
}

// gift is the same for rules that give out the same ports to the same protocols.
func gift(r *Rule) string {
	b := make([]byte, 0, 32)
	for _, on := range []bool{r.Masquerade, r.SpacePerVIP, r.TCP, r.UDP} {
		b = strconv.AppendBool(b, on)
	}
	b = strconv.AppendUint(append(b, ' '), uint64(r.Ports.First)<<16|uint64(r.Ports.Last), 10)
	for _, v := range r.VIPs {
		b = v.AppendTo(append(b, ' '))
	}
	for _, p := range r.Pools {
		b = p.VIP.AppendTo(append(b, ' '))
		b = strconv.AppendUint(append(b, ':'), uint64(p.Ports.First)<<16|uint64(p.Ports.Last), 10)
	}
	return string(b)
}

// has reports whether this machine has all of the addresses.
func (c *cache) has(addrs []netip.Addr) bool {
	return !slices.ContainsFunc(addrs, func(a netip.Addr) bool {
		return !slices.ContainsFunc(c.links, func(l link) bool { return slices.Contains(l.addrs, a) })
	})
}
