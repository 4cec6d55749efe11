package ledger

import "github.com/snatwatch/snatwatch/detector/forecast"

// outlooks makes the outlooks of port spaces, max at most.
type outlooks struct {
	clock      *clock
	forecaster *forecast.Forecaster
	count, max int
}

// start gives each account the state that its forecasts share.
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

// track gives port space s of account a an outlook, if it has none and there may be one more.
func (o *outlooks) track(a *account, s *portSpace) {
	if s.outlook == nil && o.count < o.max {
		s.outlook = o.make(a, s)
		o.count++
	}
}

// forget ends the outlook of s, if it has one.
func (o *outlooks) forget(s *portSpace) {
	if s.outlook != nil {
		s.outlook.Stop()
		s.outlook = nil
		o.count--
	}
}

// name returns the name of s, a port space of account a, which lasts over a restart.
func (s *portSpace) name(a *account) forecast.SpaceName {
	n := forecast.SpaceName{
		Budget:      a.budget.Name,
		Destination: destinationLabel(s.destination, a.terms.Unique), Protocol: a.protocol,
	}
	if s.vip.IsValid() {
		n.VIP = s.vip.String()
	}
	return n
}

// make starts the outlook of s, with what a restored state knows of it.
func (o *outlooks) make(a *account, s *portSpace) *forecast.Outlook {
	made := a.forecast.Outlook(o.clock.now)
	if o.forecaster.Remembers(o.clock.now.Sub(o.clock.start)) {
		o.forecaster.Claim(made, s.name(a), o.clock.now)
	}
	return made
}
