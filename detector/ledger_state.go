package detector

import "github.com/snatwatch/snatwatch/collector"

// AppendState appends what the forecast learned so far, for Restore.
func (l *Ledger) AppendState(b []byte) []byte {
	var spaces []known
	for i := range l.spaces {
		if s := &l.spaces[i]; s.outlook != nil {
			spaces = append(spaces, known{l.spaceName(s), s.outlook})
		}
	}
	return l.forecaster.appendState(b, l.now, spaces, l.cfg.ForecastMax)
}

// Restore takes in what AppendState gave, before the first event. Where the bytes are
// no state it returns an error that is ErrState, and the ledger is as it was.
func (l *Ledger) Restore(state []byte, now collector.Time) error {
	st, err := readState(state, now)
	if err != nil {
		return err
	}
	l.Advance(now)
	l.forecaster.restore(&st, now)
	return nil
}

// spaceName is the name of s that lasts over a restart.
func (l *Ledger) spaceName(s *portSpace) spaceName {
	a := l.accounts[s.key.account]
	n := spaceName{budget: a.budget.Name, destination: destinationLabel(s.destination, a.terms.Unique), protocol: a.protocol}
	if s.vip.IsValid() {
		n.vip = s.vip.String()
	}
	return n
}

// newOutlook starts the forecast of s, with what a state tells of it.
func (l *Ledger) newOutlook(s *portSpace) *outlook {
	o := l.accounts[s.key.account].stock.outlook(l.now)
	if l.forecaster.remembers(l.now.Sub(l.cfg.Start)) {
		l.forecaster.claim(o, l.spaceName(s), l.now)
	}
	return o
}
