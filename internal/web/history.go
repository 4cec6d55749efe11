package web

import (
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
)

// The past that is kept: an hour by the minute, of so many budgets' protocols and port spaces.
const (
	pastMinutes = 60
	pastMost    = 512
)

// History keeps the last hour of what a page charts: about 500 B for each of at most pastMost protocols and port
// spaces. Any goroutine may read it.
type History struct {
	mu    sync.Mutex
	rings map[pastKey]*ring
	last  collector.Time // of the newest snapshot taken
}

// pastKey is a budget's protocol, or one port space of it.
type pastKey struct {
	budget           string
	protocol         collector.Protocol
	vip, destination string
}

// ring is the past of one of them: a place for each minute, the newest at minute%pastMinutes.
type ring struct {
	minute int64 // of the newest place, since 1970
	held   [pastMinutes]int32
	opens  [pastMinutes]float32
	failed [pastMinutes]float32
	known  [pastMinutes]bool
	// opened and failures are the counters at the last snapshot; -1 before the first.
	opened, failures int64
}

// Past is the last hour of one protocol or port space, by minute, the oldest first. Held is the most that was held,
// -1 where the agent did not run; Opens and Failed count in the minute.
type Past struct {
	Held   []int
	Opens  []float64
	Failed []float64
}

// Add takes what a snapshot says. A nil History takes nothing.
func (h *History) Add(s *detector.Snapshot) {
	if h == nil || s == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rings == nil {
		h.rings = map[pastKey]*ring{}
	}
	if s.At < h.last { // the clock was set back: what was kept has no place any more
		clear(h.rings)
	}
	h.last = s.At
	minute := int64(s.At) / int64(time.Minute)
	for k, r := range h.rings {
		if minute-r.minute >= pastMinutes {
			delete(h.rings, k)
		}
	}
	for i := range s.Budgets {
		b := &s.Budgets[i]
		for j := range b.Protocols {
			p := &b.Protocols[j]
			key := pastKey{budget: b.Budget.Name, protocol: p.Protocol}
			h.add(key, minute, p.Busiest, int64(p.Opened), int64(p.NoPorts))
			for k := range p.Spaces {
				x := &p.Spaces[k]
				key.vip, key.destination = x.VIP, x.Destination
				h.add(key, minute, x.Held, int64(x.Opened), 0)
			}
		}
	}
}

// add takes one value of each kind; a key beyond pastMost is left out.
func (h *History) add(k pastKey, minute int64, held int, opened, failures int64) {
	r := h.rings[k]
	if r == nil {
		if len(h.rings) >= pastMost {
			return
		}
		r = &ring{minute: minute - pastMinutes, opened: -1, failures: -1}
		h.rings[k] = r
	}
	gap := minute > r.minute+1 // what was counted meanwhile is of no one minute
	for r.minute < minute {    // minutes without a snapshot are not known
		r.minute++
		i := r.minute % pastMinutes
		r.held[i], r.opens[i], r.failed[i], r.known[i] = 0, 0, 0, false
	}
	i := r.minute % pastMinutes
	r.known[i] = true
	r.held[i] = max(r.held[i], int32(held))
	if !gap && r.opened >= 0 && opened > r.opened { // a reload may begin a counter anew
		r.opens[i] += float32(opened - r.opened)
	}
	if !gap && r.failures >= 0 && failures > r.failures {
		r.failed[i] += float32(failures - r.failures)
	}
	r.opened, r.failures = opened, failures
}

// past returns the last hour of a key, nil where nothing is known of it. A nil History knows nothing.
func (h *History) past(k pastKey) *Past {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.rings[k]
	if r == nil {
		return nil
	}
	out := &Past{}
	for n := pastMinutes - 1; n >= 0; n-- {
		i := (r.minute - int64(n) + pastMinutes) % pastMinutes
		held := -1
		if r.known[i] {
			held = int(r.held[i])
		}
		out.Held = append(out.Held, held)
		out.Opens = append(out.Opens, float64(r.opens[i]))
		out.Failed = append(out.Failed, float64(r.failed[i]))
	}
	return out
}

// holding is p with what port space of held, nil where one of the two is not known.
func (p *Past) holding(of *Past) *Past {
	if p == nil || of == nil {
		return nil
	}
	return &Past{Held: of.Held, Opens: p.Opens, Failed: p.Failed}
}

// most is the most held within the hour, 0 where nothing is known.
func (p *Past) most() int {
	most := 0
	if p != nil {
		for _, n := range p.Held {
			most = max(most, n)
		}
	}
	return most
}
