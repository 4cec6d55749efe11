package ledger

import (
	"cmp"
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

// holders are who holds the ports of all port spaces.
type holders struct {
	on    bool          // who holds ports is counted
	sets  []ownerSet    // by number of the port space, if on
	max   int           // how many a snapshot names of one port space
	hold  time.Duration // how long an owner keeps its place among the named
	whole func(collector.OwnerNumber) collector.OwnerNumber
	// ofPort has the owner of each port that flows may share, by portKey.
	ofPort map[uint64]collector.OwnerNumber
}

// portOwner returns the owner of the port of f. Flows may share that port; it belongs to the owner that took it first.
// ports is by how much the number of held ports changes: 1, 0 or -1.
func (hs *holders) portOwner(f *flow, ports int) collector.OwnerNumber {
	if !hs.on {
		return f.owner
	}
	k := portKey(f.place, f)
	owner, held := hs.ofPort[k]
	switch {
	case ports > 0 && !held:
		owner = f.owner
		hs.ofPort[k] = owner
	case ports < 0:
		delete(hs.ofPort, k)
	}
	return owner
}

// learnOwner gives live f another owner if more is known of that one than of the owner that f has: an owner that is
// settled in place of a client or nobody, a client in place of nobody, and a container in place of its pod.
func (ss *spaces) learnOwner(f *flow, owner collector.OwnerNumber) {
	if owner == collector.OwnerUnknown {
		return
	}
	hs, was := &ss.holders, f.owner
	part := hs.whole(owner) == was
	if !part && (was.Settled() || was != collector.OwnerUnknown && !owner.Settled()) {
		return // nor does a client take the place of another client
	}
	f.owner = owner
	if !hs.on || f.place == 0 {
		return
	}
	if opened := f.openedInterval(); !part && opened.From != 0 && opened.To >= ss.clock.start {
		ss.accountOf(f).owners.opened(hs.whole(owner))
	}
	if f.place.folded() || f.flags&flagUncounted != 0 {
		return
	}
	if k := portKey(f.place, f); f.port != 0 {
		if first, shared := hs.ofPort[k]; shared {
			if first != was {
				return
			}
			hs.ofPort[k] = owner
		}
	}
	hs.sets[f.place].add(was, -1)
	hs.sets[f.place].add(owner, 1)
}

// largest returns the owners that hold ports of the port space of that number, the largest first; held is how many
// ports are held in all, at is the time. Half of the places go to the owners that hold the most, the next to those that
// were among these a short while ago, what is left to the next largest. The last entry sums the rest.
func (hs *holders) largest(number uint32, held int, at collector.Time) []detector.OwnerHeld {
	if !hs.on {
		return nil
	}
	now := uint32(forecast.Second(at))
	hs.sets[number].drop(now)
	list := hs.sets[number].list
	order := make([]uint32, len(list))
	for i := range order {
		order[i] = uint32(i)
	}
	larger := func(a, b uint32) int {
		return cmp.Or(cmp.Compare(list[b].held, list[a].held), cmp.Compare(list[a].owner, list[b].owner))
	}
	slices.SortFunc(order, larger)
	half := min(len(order), (hs.max+1)/2)
	if rest := order[half:]; len(order) > hs.max {
		left := func(i uint32) int { // whether its place has ended
			if list[i].until > now {
				return 0
			}
			return 1
		}
		slices.SortStableFunc(rest, func(a, b uint32) int { return left(a) - left(b) })
	}
	named := order[:min(len(order), hs.max)]
	slices.SortFunc(named, larger)
	out := make([]detector.OwnerHeld, 0, len(named)+1)
	rest, until := held, now+uint32(hs.hold/time.Second)
	for k, i := range named {
		e := &list[i]
		// An owner that is named for the ports that it holds keeps its place for some minutes more.
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

// opened counts a flow of owner n. A flow of unknown owner is not counted: its owner may be learned.
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
