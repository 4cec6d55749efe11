package ledger

import (
	"math"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// What happens to flows and port spaces is told to the forecast in this file and in
// Reconfigure's, and nowhere else.

const (
	// Port spaces that are busy, or that moved by a fiftieth of their ceiling since, are forecast every second, others
	// every calmTick.
	calmTick = 5
	// outlookEvery is how often a forecast may move from an empty port space to a busy
	// one that has none.
	outlookEvery = 30 * time.Second
	// eventsHold is for how long after an event of a new flow the ledger counts on
	// events; without them it knows what was before the last dump.
	eventsHold = 10 * time.Minute
)

// startForecast makes what accounts lack of forecasting state.
func (l *Ledger) startForecast() {
	l.forecaster.Clear()
	for _, a := range l.accounts {
		if a.forecast == nil {
			a.forecast = l.forecaster.Account(a.budget, a.protocol, l.now)
			continue
		}
		l.forecaster.Keep(a.forecast, a.terms)
	}
}

// outlookOf is the forecast of the port space that f is counted in, nil if there is none.
func (l *Ledger) outlookOf(f *flow) *forecast.Outlook {
	if f.place == 0 || f.place.folded() {
		return nil
	}
	return l.spaces[f.place].outlook
}

func (l *Ledger) flowOpened(f *flow, opened collector.Interval, resumed bool) {
	l.accountOf(f).forecast.Opened(opened)
	switch o := l.outlookOf(f); {
	case o == nil:
	case resumed:
		o.HaveLive(opened)
	default:
		o.Open(opened)
	}
}

func (l *Ledger) flowClosed(f *flow, opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	l.accountOf(f).forecast.Closed(opened, ended, reason)
	if o := l.outlookOf(f); o != nil {
		if release <= l.now {
			release = ended.To
		}
		o.Close(opened, ended, release, reason)
	}
}

// untold adds to the live flows of which only the first packet is known, where f is forecast.
func (l *Ledger) addUnconfirmed(f *flow, n int32) {
	if o := l.outlookOf(f); o != nil {
		o.AddUnconfirmed(n)
	}
}

// flowAnswered tells that f was answered, and live until then at the least.
func (l *Ledger) flowAnswered(f *flow, until collector.Time) {
	if o := l.outlookOf(f); o != nil {
		o.Answered(f.openedInterval(), until)
	}
}

// flowReused tells that the cooling port of f is released before its time.
func (l *Ledger) flowReused(f *flow) {
	if o := l.outlookOf(f); o != nil {
		o.Free(f.moment)
	}
}

// flowDropped tells that live f is lost sight of.
func (l *Ledger) flowDropped(f *flow) {
	opened := f.openedInterval()
	l.accountOf(f).forecast.Dropped(opened)
	if o := l.outlookOf(f); o != nil {
		o.Drop(opened)
	}
}

// flowMoved tells that live f was folded and is counted in a port space now.
func (l *Ledger) flowMoved(f *flow) {
	if o := l.outlookOf(f); o != nil {
		o.HaveLive(f.openedInterval())
	}
}

func (l *Ledger) spaceTracked(s *portSpace) {
	if s.outlook == nil && l.outlooks < l.cfg.ForecastMax {
		s.outlook = l.newOutlook(s)
		l.outlooks++
	}
}

func (l *Ledger) spaceForgotten(s *portSpace) {
	if s.outlook != nil {
		s.outlook.Stop()
		s.outlook = nil
		l.outlooks--
	}
}

// forecast makes the forecasts that are due, once a second.
func (l *Ledger) forecast() {
	now := forecast.Second(l.now)
	if now <= l.forecastAt {
		return
	}
	l.forecastAt = now
	l.handOutlooks()
	c := forecast.Conditions{Now: l.seenUpTo()}
	if c.Now == 0 {
		return
	}
	for _, n := range l.netns {
		if n != nil && n.lossAt != 0 && (c.InexactSince == 0 || n.lossAt < c.InexactSince) {
			c.InexactSince = n.lossAt
		}
	}
	for _, a := range l.accounts {
		if a.terms.Ports > 0 {
			a.forecast.Tick(c.Now, a.budget)
		}
	}
	for n := range l.spaces {
		s := &l.spaces[n]
		if s.outlook == nil || s.outlook.Ticked(c.Now) {
			continue // without a forecast, or that of the last dump stands
		}
		a := l.accounts[s.key.account]
		c.Failing = s.noPorts > s.noPortsForecast
		held, ceiling := s.held(), a.terms.Ceiling()
		moved := held - int(s.heldForecast)
		if !busy(held, ceiling) && max(moved, -moved)*50 <= ceiling && !c.Failing && (now+int64(n))%calmTick != 0 {
			continue
		}
		s.noPortsForecast, s.heldForecast = s.noPorts, int32(held)
		c.Opening, c.Held = s.opening, held
		c.WarmingUntil = 0
		if cool := slices.Max(a.terms.CoolDown[:]); cool > 0 {
			c.WarmingUntil = l.cfg.Start.Add(cool)
		}
		s.outlook.Tick(c)
	}
}

// busy reports whether a port space holds more than a tenth of its ceiling.
func busy(held, ceiling int) bool { return held*10 > ceiling }

// seenUpTo is the moment up to which all that happened is known: now where events come, else
// when the last dump that is complete began; 0 before the first.
func (l *Ledger) seenUpTo() collector.Time {
	var told, dumped collector.Time
	for _, n := range l.netns {
		if n != nil {
			told = max(told, n.lastOpen)
			dumped = max(dumped, n.complete)
		}
	}
	if told != 0 && l.now.Sub(told) < eventsHold {
		return l.now
	}
	return dumped
}

// handOutlooks takes forecasts from port spaces that hold little and gives them to busy ones that
// have none. The flows of those are looked for once, which walks the whole table.
func (l *Ledger) handOutlooks() {
	if l.outlooks < l.cfg.ForecastMax || l.now.Sub(l.handedAt) < outlookEvery {
		return
	}
	l.handedAt = l.now
	var want, have []uint32
	for n := range l.spaces {
		s := &l.spaces[n]
		if !s.used {
			continue
		}
		busy := busy(s.held(), l.accounts[s.key.account].terms.Ceiling())
		switch {
		case s.outlook == nil && busy:
			want = append(want, uint32(n))
		case s.outlook != nil && !busy:
			have = append(have, uint32(n))
		}
	}
	if len(want) == 0 || len(have) == 0 {
		return
	}
	order := func(a, b uint32) int { return fuller(&l.spaces[a], &l.spaces[b]) }
	slices.SortFunc(want, order)
	slices.SortFunc(have, func(a, b uint32) int { return order(b, a) })
	given := map[uint32]*forecast.Outlook{}
	for i := range min(len(want), len(have)) {
		s := &l.spaces[want[i]]
		l.spaces[have[i]].outlook.Stop()
		l.spaces[have[i]].outlook = nil
		s.outlook = l.newOutlook(s)
		given[want[i]] = s.outlook
	}
	for _, n := range l.netns {
		if n != nil {
			l.eachFlow(n, func(_ uint32, f *flow) {
				o := given[uint32(f.place)]
				switch {
				case o == nil:
				case f.phase == phaseLive:
					o.HaveLive(f.openedInterval())
					if f.flags&flagUnconfirmed != 0 {
						o.AddUnconfirmed(1)
					}
				case f.phase == phaseCooling:
					o.HaveCooling(f.moment)
				}
			})
		}
	}
}

// eachFlow calls do for each entry of n, which do may remove.
func (l *Ledger) eachFlow(n *netns, do func(i uint32, f *flow)) {
	for c := 0; c < len(n.flows.chunks); c++ {
		first := n.flows.chunks[c] << chunkShift
		for i := first; i < first+chunkSize && n.flows.count > 0; i++ {
			if f := l.table.at(i); f.phase != phaseFree {
				do(i, f)
			}
		}
	}
}

// exhausts is the median time to exhaustion of s in seconds, +Inf where none is known.
func exhausts(s *portSpace) float64 {
	if s.outlook == nil || s.outlook.Latest() == nil {
		return math.Inf(1)
	}
	return s.outlook.Latest().TimeToExhaustion
}
