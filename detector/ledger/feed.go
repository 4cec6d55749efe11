package ledger

import "github.com/snatwatch/snatwatch/collector"

// What happens to the flows of a port space is told to its forecast in this file and in legacy's, and nowhere else.

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

func (ss *spaces) flowClosed(f *flow, opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	ss.accountOf(f).forecast.Closed(opened, ended, reason)
	if o := ss.outlookOf(f); o != nil {
		if release <= ss.clock.now {
			release = ended.To
		}
		o.Close(opened, ended, release, reason)
	}
}

// addUnconfirmed adds to the live flows of which only the first packet is known, where f is forecast.
func (ss *spaces) addUnconfirmed(f *flow, n int32) {
	if o := ss.outlookOf(f); o != nil {
		o.AddUnconfirmed(n)
	}
}

// flowAnswered tells that f was answered, and live until then at the least.
func (ss *spaces) flowAnswered(f *flow, until collector.Time) {
	if o := ss.outlookOf(f); o != nil {
		o.Answered(f.openedInterval(), until)
	}
}

// flowReused tells that the cooling port of f is released before its time.
func (ss *spaces) flowReused(f *flow) {
	if o := ss.outlookOf(f); o != nil {
		o.Free(f.moment)
	}
}

// flowDropped tells that live f is lost sight of.
func (ss *spaces) flowDropped(f *flow) {
	opened := f.openedInterval()
	ss.accountOf(f).forecast.Dropped(opened)
	if o := ss.outlookOf(f); o != nil {
		o.Drop(opened)
	}
}

// flowMoved tells that live f was folded and is counted in a port space now.
func (ss *spaces) flowMoved(f *flow) {
	if o := ss.outlookOf(f); o != nil {
		o.HaveLive(f.openedInterval())
	}
}
