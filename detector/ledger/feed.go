package ledger

import "github.com/snatwatch/snatwatch/collector"

// The methods of this file tell the forecast what happens to a flow. recount does the same when budgets change.

// flowOpened: f opened within opened, or is live again (resumed).
func (ss *spaces) flowOpened(f *flow, opened collector.Interval, resumed bool) {
	ss.accountOf(f).forecast.Opened(opened)
	switch o := ss.outlookOf(f); {
	case o == nil:
	case resumed:
		o.HaveLive(opened)
	default:
		o.Open(opened)
	}
}

// flowClosed: f ended within ended, and its port is held until release.
func (ss *spaces) flowClosed(f *flow, opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	ss.accountOf(f).forecast.Closed(opened, ended, reason)
	if o := ss.outlookOf(f); o != nil {
		if release <= ss.clock.now {
			release = ended.To
		}
		o.Close(opened, ended, release, reason)
	}
}

// addUnconfirmed adds n to the live flows of which only the first packet is known.
func (ss *spaces) addUnconfirmed(f *flow, n int32) {
	if o := ss.outlookOf(f); o != nil {
		o.AddUnconfirmed(n)
	}
}

// flowAnswered: f was answered, and live until the time until at least.
func (ss *spaces) flowAnswered(f *flow, until collector.Time) {
	if o := ss.outlookOf(f); o != nil {
		o.Answered(f.openedInterval(), until)
	}
}

// flowReused: the cooling port of f is released before its time.
func (ss *spaces) flowReused(f *flow) {
	if o := ss.outlookOf(f); o != nil {
		o.Free(f.moment)
	}
}

// flowDropped: no source shows live f any more.
func (ss *spaces) flowDropped(f *flow) {
	opened := f.openedInterval()
	ss.accountOf(f).forecast.Dropped(opened)
	if o := ss.outlookOf(f); o != nil {
		o.Drop(opened)
	}
}

// flowMoved: live f was folded, and a port space counts it now.
func (ss *spaces) flowMoved(f *flow) {
	if o := ss.outlookOf(f); o != nil {
		o.HaveLive(f.openedInterval())
	}
}
