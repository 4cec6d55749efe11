package ledger

import "github.com/snatwatch/snatwatch/detector/forecast"

// outlooks are the forecasts of port spaces, of which there are no more than max.
type outlooks struct {
	clock      *clock
	forecaster *forecast.Forecaster
	count, max int
}

// start makes what accounts lack of forecasting state.
func (o *outlooks) start(accounts []*account) {
	o.forecaster.Clear()
	for _, a := range accounts {
		if a.forecast == nil {
			a.forecast = o.forecaster.Account(a.budget, a.protocol, o.clock.now)
			continue
		}
		o.forecaster.Keep(a.forecast, a.terms)
	}
}

// track gives port space s of account a a forecast, if there may be one more and it has none.
func (o *outlooks) track(a *account, s *portSpace) {
	if s.outlook == nil && o.count < o.max {
		s.outlook = o.make(a, s)
		o.count++
	}
}

// forget ends the forecast of s, if it has one.
func (o *outlooks) forget(s *portSpace) {
	if s.outlook != nil {
		s.outlook.Stop()
		s.outlook = nil
		o.count--
	}
}

// name is the name of s, of account a, that lasts over a restart.
func (s *portSpace) name(a *account) forecast.SpaceName {
	n := forecast.SpaceName{Budget: a.budget.Name, Destination: destinationLabel(s.destination, a.terms.Unique), Protocol: a.protocol}
	if s.vip.IsValid() {
		n.VIP = s.vip.String()
	}
	return n
}

// make starts the forecast of s, with what a state tells of it.
func (o *outlooks) make(a *account, s *portSpace) *forecast.Outlook {
	made := a.forecast.Outlook(o.clock.now)
	if o.forecaster.Remembers(o.clock.now.Sub(o.clock.start)) {
		o.forecaster.Claim(made, s.name(a), o.clock.now)
	}
	return made
}
