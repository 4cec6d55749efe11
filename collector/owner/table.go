package owner

import (
	"maps"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Table numbers owners and writes the numbers into flows. One goroutine owns it.
type Table struct {
	watcher *Watcher
	outer   uint64
	view    *View
	// owners by number; the zero Identity where the number is free.
	owners []Identity
	// wholes are the numbers of the pods that owners, which are containers, are in; 0 for all else.
	wholes  []collector.OwnerNumber
	clients []Identity // by number less FirstClient
	numbers map[Identity]collector.OwnerNumber
	// spare are numbers that were taken back, of owners and of clients.
	spare [2][]collector.OwnerNumber

	// Answers for the view at hand.
	cgroups   map[group]collector.OwnerNumber
	addresses map[netip.Addr]collector.OwnerNumber
	// last are the latest answers by address, of this round. own: the address is the machine's own, so each flow of it has
	// an answer of its own.
	last [lastMax]struct {
		address netip.Addr
		number  collector.OwnerNumber
		own     bool
	}
	// began is when the round began: one lasts for roundMax or until the next batch of flows. standing tells whether the
	// namespace that had an address at the look at hand had it still in this round.
	began    collector.Time
	standing map[netip.Addr]bool
	// full counts flows whose owner found no number.
	full uint64

	// looked is when the view at hand came; passed when a namespace of this machine, by its address, last had a flow in
	// conntrack, and forwarded when a client did that this machine translates, as of such times.
	looked    collector.Time
	passed    map[netip.Addr]collector.Time
	forwarded collector.Time

	// dumped is set once a whole dump was attributed: who has a flow later may have come after the latest look.
	dumped bool
	// strangers tells when an address that no look has shown had its first flow: it is a client's if a look that began
	// later does not show it either.
	strangers map[netip.Addr]collector.Time
}

const (
	lastMax = 256
	// roundMax bounds how late an address is known to have gone to another namespace.
	roundMax = 100 * time.Millisecond
	// ownersMax and clientsMax are how many numbers of each kind there are.
	ownersMax  = int(collector.FirstClient)
	clientsMax = 1<<16 - int(collector.FirstClient)
	// passedHold is for how long the table knows of an address that it passed; passedMax is how many it knows.
	passedHold = 10 * time.Minute
	passedMax  = 8192
	// strangersMax is how many addresses wait for a look. Those beyond are taken for clients at once.
	strangersMax = 8192
)

// group is the sockets of a namespace and a cgroup.
type group struct{ netns, cgroup uint64 }

// NewTable returns a table of what w sees.
func NewTable(w *Watcher) *Table {
	t := &Table{
		watcher: w, outer: w.outer(), owners: make([]Identity, 2), wholes: make([]collector.OwnerNumber, 2),
		numbers:   map[Identity]collector.OwnerNumber{},
		cgroups:   map[group]collector.OwnerNumber{},
		addresses: map[netip.Addr]collector.OwnerNumber{},
		standing:  map[netip.Addr]bool{},
		passed:    map[netip.Addr]collector.Time{},
		strangers: map[netip.Addr]collector.Time{},
	}
	t.owners[collector.OwnerUnknown].Kind, t.owners[collector.OwnerOther].Kind = collector.KindUnknown, collector.KindOther
	return t
}

// Attribute writes the owner of each flow into the events, which sockets or conntrack showed. A flow whose owner is
// not known yet gets OwnerUnknown and the watcher looks again before the next dump, which brings the answer.
func (t *Table) Attribute(events []collector.Event, sockets bool) {
	v := t.watcher.View()
	if v == nil {
		return
	}
	now := t.watcher.cfg.Now()
	if v != t.view {
		t.view, t.looked = v, now
		clear(t.cgroups)
		clear(t.addresses)
		t.round(now)
	} else if now.Sub(t.began) >= roundMax {
		t.round(now)
	}
	for i := range events {
		switch e := &events[i]; e.Kind {
		case collector.Seen, collector.Opened:
			if sockets {
				e.Flow.Owner = t.ofSocket(&e.Flow)
			} else {
				e.Flow.Owner = t.ofFlow(&e.Flow)
			}
		case collector.End:
			t.dumped = true
		}
	}
}

// ofFlow returns the owner of a flow of conntrack. All flows of an address have one owner, unless the address is the
// machine's own or its namespace has several.
func (t *Table) ofFlow(f *collector.Flow) collector.OwnerNumber {
	a := f.Source.Addr()
	hint := &t.last[hash(a)%lastMax]
	switch {
	case hint.address != a:
	case hint.own:
		return t.ofOwn(f)
	default:
		t.noteForwarded(f, hint.number)
		return hint.number
	}
	if !t.stands(a) {
		if f.State != collector.Done {
			t.watcher.want(wantSpaces)
		}
		return collector.OwnerUnknown
	}
	if t.view.Own[a] {
		hint.address, hint.own = a, true
		return t.ofOwn(f)
	}
	n, ok := t.addresses[a]
	if !ok {
		id, wanted := t.view.ofFlow(f)
		t.notePassed(a, id)
		if id.Kind == collector.KindClient && t.stranger(f) {
			return collector.OwnerUnknown
		}
		if n = t.number(id); wanted != 0 {
			// The sockets tell which process, and which container of a pod.
			pod := wanted == wantInner && id.Kind == collector.KindPod && id.Container == ""
			if (n == collector.OwnerUnknown || pod) && f.State != collector.Done {
				t.watcher.want(wanted)
			}
			return n
		}
		t.addresses[a] = n
	}
	t.noteForwarded(f, n)
	hint.address, hint.number, hint.own = a, n, false
	return n
}

// ofOwn returns the owner of a flow of the machine's own address.
func (t *Table) ofOwn(f *collector.Flow) collector.OwnerNumber {
	id, _ := t.view.Sockets.of(f)
	n := t.number(id)
	if n == collector.OwnerUnknown && f.State != collector.Done {
		t.watcher.want(wantSockets)
	}
	return n
}

// round begins a round at now.
func (t *Table) round(now collector.Time) {
	t.began = now
	clear(t.standing)
	clear(t.last[:])
}

// stands reports whether the namespace that had address a at the latest look has it still, as far as a process of it
// tells that was there. True of other addresses.
func (t *Table) stands(a netip.Addr) bool {
	s, ours := t.view.Stands[a]
	if !ours {
		return true
	}
	ok, known := t.standing[a]
	if !known {
		key, there := t.watcher.proc.netKey(s.pid)
		ok = there && key == s.netKey
		t.standing[a] = ok
	}
	return ok
}

// stranger reports whether the address of f, which the latest look did not show, may be of a namespace of this machine:
// one that came since, for which it asks for a look, or one that is gone, whose closed flows conntrack still shows.
func (t *Table) stranger(f *collector.Flow) bool {
	a := f.Source.Addr()
	if at, known := t.passed[a]; known && t.looked.Sub(at) < passedHold {
		if f.State != collector.Done {
			t.watcher.want(wantSpaces)
		}
		return true
	}
	if _, client := t.numbers[clientAt(a)]; client {
		return false
	}
	if !t.dumped {
		// A flow that has ended may be of a namespace that was gone before the agent came.
		return f.State == collector.Done
	}
	first, known := t.strangers[a]
	if known && t.view.Began > first {
		return false
	}
	if !known {
		if len(t.strangers) >= strangersMax {
			maps.DeleteFunc(t.strangers, func(_ netip.Addr, at collector.Time) bool { return t.view.Began > at })
		}
		if len(t.strangers) >= strangersMax {
			return false
		}
		t.strangers[a] = t.watcher.cfg.Now()
	}
	t.watcher.want(wantSpaces)
	return true
}

func (t *Table) noteForwarded(f *collector.Flow, n collector.OwnerNumber) {
	if n >= collector.FirstClient && f.Translated {
		t.forwarded = t.looked
	}
}

func (t *Table) notePassed(a netip.Addr, id Identity) {
	switch _, known := t.passed[a]; {
	case id.Kind == collector.KindClient || t.view.Own[a]:
		return
	case !known && len(t.passed) >= passedMax:
		maps.DeleteFunc(t.passed, func(_ netip.Addr, at collector.Time) bool { return t.looked.Sub(at) > passedHold })
		if len(t.passed) >= passedMax {
			return
		}
	}
	t.passed[a] = t.looked
}

// Passes reports whether flows of the namespace and address of f leave the machine where conntrack is read: it is the
// outer namespace, or a flow of that address was seen there lately.
func (t *Table) Passes(f *collector.Flow) bool {
	if f.Netns == t.outer {
		return true
	}
	if at, known := t.passed[f.Source.Addr()]; known && t.watcher.cfg.Now().Sub(at) < passedHold {
		return true
	}
	_, client := t.numbers[clientAt(f.Source.Addr())]
	return client
}

// Forwards reports whether this machine lately translated flows of others, whose sockets are not here to be seen.
func (t *Table) Forwards() bool {
	return t.forwarded != 0 && t.watcher.cfg.Now().Sub(t.forwarded) < passedHold
}

// ofSocket returns the owner of a socket.
func (t *Table) ofSocket(f *collector.Flow) collector.OwnerNumber {
	if n, ok := t.cgroups[group{f.Netns, f.Cgroup}]; ok {
		return n
	}
	id, found := t.view.ofSocket(f, t.outer)
	switch {
	case rank(id.Kind) == 0 && f.State == collector.Done: // a TIME_WAIT has no cgroup
		return collector.OwnerUnknown
	case found == byNothing:
		t.watcher.want(wantCgroups)
		return collector.OwnerUnknown
	case rank(id.Kind) == 0:
		t.watcher.want(wantInodes)
		return collector.OwnerUnknown
	}
	n := t.number(id)
	if found != byProcess {
		t.cgroups[group{f.Netns, f.Cgroup}] = n
	}
	return n
}

func hash(a netip.Addr) uint32 {
	b := a.As16()
	return uint32(b[15]) ^ uint32(b[14])<<3 ^ uint32(b[13])<<5 ^ uint32(b[7])
}

// number returns the number of an owner, and gives it one if needed: to a container of a pod, and to the pod.
func (t *Table) number(id Identity) collector.OwnerNumber {
	if rank(id.Kind) == 0 && id.Kind != collector.KindClient {
		return collector.OwnerUnknown
	}
	if n, ok := t.numbers[id]; ok {
		return n
	}
	whole := collector.OwnerUnknown
	if id.Container != "" {
		pod := id
		pod.Container = ""
		whole = t.number(pod)
	}
	n := t.give(id)
	if whole != collector.OwnerUnknown && n != collector.OwnerOther {
		t.wholes[n] = whole
	}
	return n
}

// give gives an owner a free number.
func (t *Table) give(id Identity) (n collector.OwnerNumber) {
	list, spare, first, most := &t.owners, &t.spare[0], collector.OwnerNumber(0), ownersMax
	if id.Kind == collector.KindClient {
		list, spare, first, most = &t.clients, &t.spare[1], collector.FirstClient, clientsMax
	}
	switch last := len(*spare) - 1; {
	case last >= 0:
		n = (*spare)[last]
		*spare = (*spare)[:last]
		(*list)[n-first] = id
	case len(*list) < most:
		n = first + collector.OwnerNumber(len(*list))
		*list = append(*list, id)
		if id.Kind != collector.KindClient {
			t.wholes = append(t.wholes, 0)
		}
	default:
		t.full++
		return collector.OwnerOther
	}
	t.numbers[id] = n
	return n
}

// Whole returns the number of the pod that n, a container, is in; n itself for every other.
func (t *Table) Whole(n collector.OwnerNumber) collector.OwnerNumber {
	if int(n) < len(t.wholes) && t.wholes[n] != 0 {
		return t.wholes[n]
	}
	return n
}

// Identity returns who has number n.
func (t *Table) Identity(n collector.OwnerNumber) Identity {
	switch {
	case n >= collector.FirstClient && int(n-collector.FirstClient) < len(t.clients):
		return t.clients[n-collector.FirstClient]
	case n < collector.FirstClient && int(n) < len(t.owners):
		return t.owners[n]
	}
	return Identity{Kind: collector.KindUnknown}
}

// Crowded reports whether more than half of the numbers of a kind are given, so that it is time to call Free.
func (t *Table) Crowded() bool {
	return len(t.owners)-len(t.spare[0]) > ownersMax/2 || len(t.clients)-len(t.spare[1]) > clientsMax/2
}

// Free takes back the numbers that no flow has, and calls forget with each.
func (t *Table) Free(used func(collector.OwnerNumber) bool, forget func(collector.OwnerNumber)) {
	for id, n := range t.numbers {
		if used(n) {
			continue
		}
		delete(t.numbers, id)
		kind := 0
		if n >= collector.FirstClient {
			kind = 1
			t.clients[n-collector.FirstClient] = Identity{Kind: collector.KindUnknown}
		} else {
			t.owners[n] = Identity{Kind: collector.KindUnknown}
			t.wholes[n] = 0
		}
		t.spare[kind] = append(t.spare[kind], n)
		forget(n)
	}
	clear(t.cgroups)
	clear(t.addresses)
	clear(t.last[:])
}
