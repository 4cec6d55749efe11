package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// picker chooses the port spaces that a snapshot shows. It uses its slices again each time.
type picker struct {
	spaces *spaces
	max    int           // as Config.ExportedMax
	hold   time.Duration // as Config.ExportHold

	byAccount [][]uint32
	// fullest hold the most ports, first are the soonest to exhaust, kept have a place already.
	fullest, first, kept []uint32
	chosen               []uint32
	taken                map[uint32]struct{} // the chosen
}

// sort lists the tracked port spaces of each account.
func (p *picker) sort() {
	ss := p.spaces
	if len(p.byAccount) != len(ss.accounts) {
		p.byAccount = make([][]uint32, len(ss.accounts))
	}
	for a := range p.byAccount {
		p.byAccount[a] = p.byAccount[a][:0]
	}
	for n := range ss.list {
		if s := &ss.list[n]; s.used {
			p.byAccount[s.key.account] = append(p.byAccount[s.key.account], uint32(n))
		}
	}
}

// incumbentPorts is how many ports a port space that has a place counts as holding beyond those that it holds. Each new
// series costs the monitoring system, and hundreds of destinations that hold a port or two would take each other's
// places all the time. If they differ by no more than this, at most max places change hands in each hold.
const incumbentPorts = 2

// rank returns how many ports s counts as holding when places are given out.
func (p *picker) rank(s *portSpace) int {
	if s.exportedUntil > p.spaces.clock.now {
		return s.held() + incumbentPorts
	}
	return s.held()
}

// choose returns the port spaces of an account that a snapshot shows, the fullest first. All shared ones are shown
// besides. Half of the places go to the fullest and the soonest to exhaust, the next to those that were among these a
// short while ago, what is left to the next fullest. The result is valid until the next call.
func (p *picker) choose(account uint32) []uint32 {
	ss, limit := p.spaces, p.max
	fuller := func(a, b uint32) int { return fuller(&ss.list[a], &ss.list[b]) }
	p.consider(account)
	shared := len(p.chosen)
	slices.SortFunc(p.kept, fuller)
	quarter := (limit + 3) / 4
	p.fill(p.first, shared+quarter, true)
	p.fill(p.fullest, shared+max(2*quarter, (limit+1)/2), true)
	p.fill(p.kept, shared+limit, false)
	p.fill(p.fullest, shared+limit, true)
	// A port space that is shown and among the fullest keeps its place for as long as that is so and it holds a port.
	for _, n := range p.fullest {
		if _, ok := p.taken[n]; ok && ss.list[n].held() > 0 {
			ss.list[n].exportedUntil = ss.clock.now.Add(p.hold)
		}
	}
	slices.SortFunc(p.chosen, fuller)
	return p.chosen
}

// consider chooses the shared port spaces of an account, and lists which others may get a place.
func (p *picker) consider(account uint32) {
	ss := p.spaces
	worthier := func(a, b uint32) int {
		x, y := &ss.list[a], &ss.list[b]
		return cmp.Or(cmp.Compare(p.rank(y), p.rank(x)), fuller(x, y))
	}
	sooner := func(a, b uint32) int {
		x, y := &ss.list[a], &ss.list[b]
		return cmp.Or(cmp.Compare(ss.exhausts(x), ss.exhausts(y)), fuller(x, y))
	}
	p.fullest, p.first, p.kept, p.chosen = p.fullest[:0], p.first[:0], p.kept[:0], p.chosen[:0]
	if p.taken == nil {
		p.taken = map[uint32]struct{}{}
	}
	clear(p.taken)
	for _, n := range p.byAccount[account] {
		s := &ss.list[n]
		if s.shared {
			p.take(n)
			continue
		}
		if s.held() == 0 && s.exportedUntil <= ss.clock.now {
			continue
		}
		p.fullest = insert(p.fullest, n, p.max, worthier)
		if !math.IsInf(ss.exhausts(s), 1) {
			p.first = insert(p.first, n, p.max, sooner)
		}
		if s.exportedUntil > ss.clock.now {
			p.kept = append(p.kept, n)
		}
	}
}

// take chooses port space n, unless it is chosen.
func (p *picker) take(n uint32) {
	if _, ok := p.taken[n]; !ok {
		p.taken[n] = struct{}{}
		p.chosen = append(p.chosen, n)
	}
}

// fill chooses port spaces of a list until so many are chosen in all. renew says that they keep their places for
// another while.
func (p *picker) fill(from []uint32, upTo int, renew bool) {
	for _, n := range from {
		if len(p.chosen) >= upTo {
			return
		}
		p.take(n)
		if renew {
			p.spaces.list[n].exportedUntil = p.spaces.clock.now.Add(p.hold)
		}
	}
}

// insert puts n into the sorted list of at most limit.
func insert(list []uint32, n uint32, limit int, order func(a, b uint32) int) []uint32 {
	if len(list) == limit {
		if limit == 0 || order(n, list[limit-1]) >= 0 {
			return list
		}
		list = list[:limit-1]
	}
	i, _ := slices.BinarySearchFunc(list, n, order)
	return slices.Insert(list, i, n)
}

// exhausts returns the median time to exhaustion of s in seconds, +Inf if unknown.
func (ss *spaces) exhausts(s *portSpace) float64 {
	switch {
	case s.outlook == nil || s.outlook.Latest() == nil:
		return math.Inf(1)
	case ss.exhausted(s):
		return 0
	}
	return s.outlook.Latest().TimeToExhaustion
}

// fuller orders by held ports, the most first, then by destination, VIP, zone and class.
func fuller(a, b *portSpace) int {
	return cmp.Or(
		cmp.Compare(b.held(), a.held()),
		a.destination.Compare(b.destination),
		a.vip.Compare(b.vip),
		cmp.Compare(a.key.zone, b.key.zone),
		cmp.Compare(a.key.class, b.key.class),
	)
}
