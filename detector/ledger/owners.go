package ledger

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// ownerHeld is what one owner holds of one port space: 12 bytes.
type ownerHeld struct {
	held uint32
	// until is the second up to which the owner keeps its place among those that a snapshot names.
	until uint32
	owner collector.OwnerNumber
}

// ownerSet is who holds the ports of one port space. It has an entry for each owner that holds some, or keeps a place.
type ownerSet struct {
	list []ownerHeld
	// index finds entries where they are more than searchMax.
	index map[collector.OwnerNumber]uint32
}

// searchMax is how many entries a search in turn is quicker for than a look-up in a map.
const searchMax = 24

// find returns the entry of n, nil if there is none.
func (o *ownerSet) find(n collector.OwnerNumber) *ownerHeld {
	if o.index != nil {
		if i, ok := o.index[n]; ok {
			return &o.list[i]
		}
		return nil
	}
	for i := range o.list {
		if o.list[i].owner == n {
			return &o.list[i]
		}
	}
	return nil
}

// add adds n to the ports that an owner holds.
func (o *ownerSet) add(owner collector.OwnerNumber, n int) {
	if n == 0 {
		return
	}
	e := o.find(owner)
	if e == nil {
		e = o.put(ownerHeld{owner: owner})
	}
	e.held = uint32(int(e.held) + n)
}

// put appends an entry. Before the list grows, entries without ports and place make room.
func (o *ownerSet) put(e ownerHeld) *ownerHeld {
	if len(o.list) == cap(o.list) {
		o.drop(0)
	}
	o.list = append(o.list, e)
	last := len(o.list) - 1
	if o.index != nil {
		o.index[e.owner] = uint32(last)
	} else if len(o.list) > searchMax {
		o.reindex()
	}
	return &o.list[last]
}

// drop removes the entries without ports whose place ended by the second now.
func (o *ownerSet) drop(now uint32) {
	before := len(o.list)
	o.list = slices.DeleteFunc(o.list, func(e ownerHeld) bool { return e.held == 0 && e.until <= now })
	if len(o.list) != before && o.index != nil {
		o.reindex()
	}
}

func (o *ownerSet) reindex() {
	if o.index = nil; len(o.list) <= searchMax {
		return
	}
	o.index = make(map[collector.OwnerNumber]uint32, 2*len(o.list))
	for i := range o.list {
		o.index[o.list[i].owner] = uint32(i)
	}
}

// places returns a set of the same places in which nobody holds a port.
func (o *ownerSet) places() (out ownerSet) {
	for _, e := range o.list {
		if e.until > 0 {
			e.held = 0
			out.list = append(out.list, e)
		}
	}
	out.reindex()
	return out
}

// portOwner returns the owner of the port of f, which flows share: the one that took it first. ports is the change in
// ports.
func (ss *spaces) portOwner(f *flow, ports int) collector.OwnerNumber {
	if !ss.owned {
		return f.owner
	}
	k := portKey(f.place, f)
	owner, held := ss.portOwners[k]
	switch {
	case ports > 0 && !held:
		owner = f.owner
		ss.portOwners[k] = owner
	case ports < 0:
		delete(ss.portOwners, k)
	}
	return owner
}

// learnOwner gives live f an owner that is better known than the one it has: any that is known for sure in place of a
// client or nobody, and a container in place of the pod that it is in.
func (in *intake) learnOwner(f *flow, owner collector.OwnerNumber) {
	if owner == f.owner || owner == collector.OwnerUnknown {
		return
	}
	ss, was := in.spaces, f.owner
	part := ss.whole(owner) == was
	if !part && (was.Settled() || was != collector.OwnerUnknown && !owner.Settled()) {
		return // a client in place of another, too
	}
	f.owner = owner
	if !ss.owned || f.place == 0 {
		return
	}
	if opened := f.openedInterval(); !part && opened.From != 0 && opened.To >= in.clock.start {
		ss.accountOf(f).owners.opened(ss.whole(owner))
	}
	if f.place.folded() || f.flags&flagUncounted != 0 {
		return
	}
	if k := portKey(f.place, f); f.port != 0 {
		if first, shared := ss.portOwners[k]; shared {
			if first != was {
				return
			}
			ss.portOwners[k] = owner
		}
	}
	ss.owners[f.place].add(was, -1)
	ss.owners[f.place].add(owner, 1)
}

// largestOwners returns who holds the ports of port space number, the largest first: for half of the places those
// that hold the most, then those that were among these a short while ago, then the next. The last entry sums the
// rest.
func (ss *spaces) largestOwners(number uint32) []detector.OwnerHeld {
	if !ss.owned {
		return nil
	}
	now := uint32(forecast.Second(ss.clock.now))
	ss.owners[number].drop(now)
	list := ss.owners[number].list
	order := make([]uint32, len(list))
	for i := range order {
		order[i] = uint32(i)
	}
	larger := func(a, b uint32) int {
		return cmp.Or(cmp.Compare(list[b].held, list[a].held), cmp.Compare(list[a].owner, list[b].owner))
	}
	slices.SortFunc(order, larger)
	half := min(len(order), (ss.ownersMax+1)/2)
	if rest := order[half:]; len(order) > ss.ownersMax {
		left := func(i uint32) int { // whether its place has ended
			if list[i].until > now {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(rest, func(a, b uint32) int { return left(a) - left(b) })
	}
	named := order[:min(len(order), ss.ownersMax)]
	slices.SortFunc(named, larger)
	out := make([]detector.OwnerHeld, 0, len(named)+1)
	rest, until := ss.list[number].held(), now+uint32(ss.ownerHold/time.Second)
	for k, i := range named {
		e := &list[i]
		// One that is named for the ports that it holds keeps its place for some minutes more.
		if k < half || e.until <= now {
			e.until = until
		}
		rest -= int(e.held)
		if e.owner != collector.OwnerOther {
			out = append(out, detector.OwnerHeld{Number: e.owner, Held: int(e.held)})
		} else {
			rest += int(e.held)
		}
	}
	if rest > 0 || len(order) > len(named) {
		out = append(out, detector.OwnerHeld{Number: collector.OwnerOther, Held: rest})
	}
	return out
}

// ownerTotals are the flows of each owner under one account, by number.
type ownerTotals []ownerTotal

type ownerTotal struct {
	count     uint64 // opened
	lifetimes meanHold
}

func (o *ownerTotals) at(n collector.OwnerNumber) *ownerTotal {
	if int(n) >= len(*o) {
		*o = append(*o, make([]ownerTotal, int(n)+1-len(*o))...)
	}
	return &(*o)[n]
}

// opened counts a flow of owner n. Flows of nobody known are not counted: their owner may be learned.
func (o *ownerTotals) opened(n collector.OwnerNumber) {
	if n != collector.OwnerUnknown {
		o.at(n).count++
	}
}

// lived takes in how long a flow of owner n lived.
func (o *ownerTotals) lived(n collector.OwnerNumber, d time.Duration) {
	if n != collector.OwnerUnknown {
		o.at(n).lifetimes.add(d)
	}
}

// namedTotals returns the totals of the owners, each as a whole, that the port spaces of account a name.
func (ss *spaces) namedTotals(a *account, spaces []detector.SpaceSnapshot) (out []detector.OwnerTotals) {
	named := map[collector.OwnerNumber]bool{}
	for i := range spaces {
		for _, o := range spaces[i].Owners {
			if o.Number != collector.OwnerUnknown && o.Number != collector.OwnerOther {
				named[ss.whole(o.Number)] = true
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(named)) {
		t := a.owners.at(n)
		out = append(out, detector.OwnerTotals{Number: n, Opened: t.count, MeanLifetime: t.lifetimes.mean()})
	}
	return out
}

// MarkOwners sets used for each owner number that a flow has, or that keeps a place, and for the wholes of these.
func (l *Ledger) MarkOwners(used *[1 << 16]bool) {
	for _, block := range l.flows.table.blocks {
		for i := range block {
			used[block[i].owner] = true
		}
	}
	now := uint32(forecast.Second(l.clock.now))
	for i := range l.spaces.owners {
		for _, e := range l.spaces.owners[i].list {
			if e.held > 0 || e.until > now {
				used[e.owner] = true
			}
		}
	}
	for n := range used {
		if used[n] {
			used[l.spaces.whole(collector.OwnerNumber(n))] = true
		}
	}
}

// ForgetOwner drops what is known of owner number n, which no flow has: another owner gets it.
func (l *Ledger) ForgetOwner(n collector.OwnerNumber) {
	for _, a := range l.spaces.accounts {
		if int(n) < len(a.owners) {
			a.owners[n] = ownerTotal{}
		}
	}
}
