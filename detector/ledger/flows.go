package ledger

import "github.com/snatwatch/snatwatch/collector"

// flows are all flows that the ledger knows, with the timers that end them. Its methods change what a flow is, and
// what is counted of it where it is.
type flows struct {
	clock      *clock
	namespaces *namespaces
	spaces     *spaces
	feed       *feed
	stalls     *stalls
	table      flowTable
	timers     wheel
	// wakeAt is the next tick of the timers: nothing is due before.
	wakeAt collector.Time
	expire func([]timer)
}

// advance releases ports and ends flows that are due. It returns false if no timer can be due yet.
func (fl *flows) advance() bool {
	if fl.clock.now < fl.wakeAt {
		return false
	}
	fl.timers.advance(fl.clock.now, fl.expire)
	fl.wakeAt = fl.timers.next()
	return true
}

// countOwed counts an end that no event explained.
func (fl *flows) countOwed(f *flow) {
	if f.flags&flagOwed != 0 {
		f.flags &^= flagOwed
		fl.spaces.accountOf(f).closed[collector.ReasonUnknown]++
	}
}

// countLive counts live f, which a dump shows, if only an event had told of it until now.
func (fl *flows) countLive(f *flow) {
	if f.flags&flagUncounted != 0 {
		f.flags &^= flagUncounted
		fl.spaces.count(f, 1, 0)
	}
}

// confirm notes that more is known of live f than its first packet: it was answered and live until the time until, or
// it was not.
func (fl *flows) confirm(f *flow, answered bool, until collector.Time) {
	if f.flags&flagUnconfirmed != 0 {
		f.flags &^= flagUnconfirmed
		fl.feed.addUnconfirmed(f, -1)
		if answered {
			fl.feed.answered(f, until)
		}
	}
}

// setOpening notes whether live f still waits for an answer.
func (fl *flows) setOpening(f *flow, opening bool) {
	switch {
	case opening && f.flags&flagOpening == 0:
		f.flags |= flagOpening
		fl.spaces.addOpening(f, 1)
	case !opening && f.flags&flagOpening != 0:
		f.flags &^= flagOpening
		fl.spaces.addOpening(f, -1)
	}
}

// move counts live f at another place.
func (fl *flows) move(f *flow, to place) {
	opening := f.flags&flagOpening != 0
	if opening {
		fl.spaces.addOpening(f, -1)
	}
	untold := f.flags&flagUnconfirmed != 0
	if untold {
		fl.feed.addUnconfirmed(f, -1)
	}
	fl.spaces.count(f, -1, 0)
	f.place = to
	fl.spaces.count(f, 1, 0)
	if opening {
		fl.spaces.addOpening(f, 1)
	}
	if untold {
		fl.feed.addUnconfirmed(f, 1)
	}
	fl.feed.moved(f)
}
