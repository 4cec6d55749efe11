package ledger

import (
	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// AppendState appends what the forecast learned so far, for Restore.
func (l *Ledger) AppendState(b []byte) []byte {
	var spaces []forecast.Known
	for i := range l.spaces {
		if s := &l.spaces[i]; s.outlook != nil {
			spaces = append(spaces, forecast.Known{Name: l.spaceName(s), Outlook: s.outlook})
		}
	}
	return l.forecaster.AppendState(b, l.now, spaces, l.cfg.ForecastMax)
}

// Restore takes in what AppendState gave, before the first event. Where the bytes are
// no state it returns an error that is ErrState, and the ledger is as it was.
func (l *Ledger) Restore(state []byte, now collector.Time) error {
	st, err := forecast.ReadState(state, now)
	if err != nil {
		return err
	}
	l.Advance(now)
	l.forecaster.Restore(&st, now)
	return nil
}

// spaceName is the name of s that lasts over a restart.
func (l *Ledger) spaceName(s *portSpace) forecast.SpaceName {
	a := l.accounts[s.key.account]
	n := forecast.SpaceName{Budget: a.budget.Name, Destination: destinationLabel(s.destination, a.terms.Unique), Protocol: a.protocol}
	if s.vip.IsValid() {
		n.VIP = s.vip.String()
	}
	return n
}

// newOutlook starts the forecast of s, with what a state tells of it.
func (l *Ledger) newOutlook(s *portSpace) *forecast.Outlook {
	o := l.accounts[s.key.account].forecast.Outlook(l.now)
	if l.forecaster.Remembers(l.now.Sub(l.cfg.Start)) {
		l.forecaster.Claim(o, l.spaceName(s), l.now)
	}
	return o
}
