package ledger

// SwitchSource tells that events come from another source from now on, such as conntrack after
// sockets. It names flows otherwise and need not show the same namespaces: flows of outer stay
// under the name that the next dump gives them, those of all others are let go without an end. A
// flow of outer that the dump shows first is not taken to have opened since.
func (l *Ledger) SwitchSource(outer uint64) {
	l.clearStalls()
	for _, n := range l.netns {
		if n == nil {
			continue
		}
		n.dumping, n.listed, n.lastOpen, n.sockets = false, 0, 0, false
		if n.inode == outer {
			n.exact, n.repairs = false, false
			l.eachFlow(n, func(_ uint32, f *flow) {
				l.settle(f)
				f.id, f.before = 0, 0
				f.flags &^= flagEndSeen | flagMissed | flagSwept
			})
			continue
		}
		n.exact = true // of no flow
		l.eachFlow(n, func(i uint32, f *flow) { l.letGo(n, i, f) })
	}
}

// letGo removes entry i without an end: nobody tells of its flow any more.
func (l *Ledger) letGo(n *netns, i uint32, f *flow) {
	l.settle(f)
	switch f.phase {
	case phaseLive:
		l.setOpening(f, false)
		l.confirm(f, false, 0)
		l.flowDropped(f)
		l.count(f, -1, 0)
	case phaseCooling:
		l.flowReused(f)
		l.count(f, 0, -1)
	}
	f.phase, f.place = phaseGone, 0
	l.remove(n, i)
}
