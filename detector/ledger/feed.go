package ledger

import (
	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// feed gives the forecast what happens to a flow. recount does the same when budgets change.
type feed struct{ spaces *spaces }

// opened: a flow that a and o count opened within opened, or is live again (resumed).
func (fd *feed) opened(a *account, o *forecast.Outlook, opened collector.Interval, resumed bool) {
	a.forecast.Opened(opened)
	switch {
	case o == nil:
	case resumed:
		o.HaveLive(opened)
	default:
		o.Open(opened)
	}
}

// closed: a flow that a and o count ended within ended, and its port is held until release.
func (fd *feed) closed(a *account, o *forecast.Outlook, opened, ended collector.Interval, release collector.Time,
	reason collector.Reason,
) {
	a.forecast.Closed(opened, ended, reason)
	if o != nil {
		if release <= fd.spaces.clock.now {
			release = ended.To
		}
		o.Close(opened, ended, release, reason)
	}
}

// addUnconfirmed adds n to the live flows of which only the first packet is known.
func (fd *feed) addUnconfirmed(f *flow, n int32) {
	if o := fd.spaces.outlookOf(f); o != nil {
		o.AddUnconfirmed(n)
	}
}

// answered: f was answered, and live until the time until at least.
func (fd *feed) answered(f *flow, until collector.Time) {
	if o := fd.spaces.outlookOf(f); o != nil {
		o.Answered(f.openedInterval(), until)
	}
}

// reused: the cooling port of f is released before its time.
func (fd *feed) reused(f *flow) {
	if o := fd.spaces.outlookOf(f); o != nil {
		o.Free(f.moment)
	}
}

// moveRelease: the cooling port of f is released at the time until and not when it was thought to be.
func (fd *feed) moveRelease(f *flow, until collector.Time) {
	if o := fd.spaces.outlookOf(f); o != nil {
		o.Free(f.moment)
		o.HaveCooling(until)
	}
}

// dropped: no source shows live f any more.
func (fd *feed) dropped(f *flow) {
	opened := f.openedInterval()
	fd.spaces.accountOf(f).forecast.Dropped(opened)
	if o := fd.spaces.outlookOf(f); o != nil {
		o.Drop(opened)
	}
}

// moved: live f was folded, and a port space counts it now.
func (fd *feed) moved(f *flow) {
	if o := fd.spaces.outlookOf(f); o != nil {
		o.HaveLive(f.openedInterval())
	}
}
