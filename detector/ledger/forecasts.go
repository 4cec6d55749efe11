package ledger

import (
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

const (
	// calmTick is how many seconds lie between two forecasts of a port space that is not busy and has not moved by a
	// fiftieth of its ceiling; others are forecast every second.
	calmTick = 5
	// outlookEvery is how long it takes at least from one reassignment of outlooks to the next.
	outlookEvery = 30 * time.Second
)

// forecasts makes the forecasts of port spaces, and decides which port spaces have one.
type forecasts struct {
	clock      *clock
	outlooks   *outlooks
	spaces     *spaces
	flows      *flows
	namespaces *namespaces

	madeAt       int64          // second of the last forecasts
	reassignedAt collector.Time // when outlooks were last reassigned
}

// make makes the forecasts that are due, once a second.
func (f *forecasts) make() {
	now := forecast.Second(f.clock.now)
	if now <= f.madeAt {
		return
	}
	f.madeAt = now
	f.reassign()
	c := forecast.Conditions{Now: f.namespaces.seenUpTo(f.clock.now)}
	if c.Now == 0 {
		return
	}
	for _, n := range f.namespaces.list {
		if n != nil && n.lossAt != 0 && (c.InexactSince == 0 || n.lossAt < c.InexactSince) {
			c.InexactSince = n.lossAt
		}
	}
	for _, a := range f.spaces.accounts {
		if a.terms.Ports > 0 {
			a.forecast.Tick(c.Now, a.budget)
		}
	}
	for n := range f.spaces.list {
		s := &f.spaces.list[n]
		if s.outlook == nil || s.outlook.Ticked(c.Now) {
			continue // no outlook, or nothing new since its last forecast
		}
		a := f.spaces.accounts[s.key.account]
		c.Failing = s.failing
		held, ceiling := s.held(), f.spaces.limitOf(s)
		if held >= ceiling {
			s.exhaustedAt = f.clock.now
		}
		if held > int(s.full) { // it holds more than it held when it was thought full
			s.full = 0
		}
		c.Ceiling = f.spaces.ceilingOf(s)
		moved := held - int(s.heldForecast)
		if !busy(held, ceiling) && max(moved, -moved)*50 <= ceiling && !c.Failing && (now+int64(n))%calmTick != 0 {
			continue
		}
		s.failing, s.heldForecast = false, int32(held)
		c.Opening, c.Held = s.opening, held
		c.WarmingUntil = 0
		if cool := slices.Max(a.terms.CoolDown[:]); cool > 0 {
			c.WarmingUntil = f.clock.start.Add(cool)
		}
		s.outlook.Tick(c)
	}
}

// busy reports whether a port space holds more than a tenth of its ceiling.
func busy(held, ceiling int) bool { return held*10 > ceiling }

// reassign ends outlooks of port spaces that hold little, and makes as many for busy port spaces that have none. One
// walk over all flows tells the new outlooks what their port spaces hold.
func (f *forecasts) reassign() {
	if f.outlooks.count < f.outlooks.max || f.clock.now.Sub(f.reassignedAt) < outlookEvery {
		return
	}
	f.reassignedAt = f.clock.now
	var want, have []uint32
	for n := range f.spaces.list {
		s := &f.spaces.list[n]
		if !s.used {
			continue
		}
		busy := busy(s.held(), f.spaces.limitOf(s))
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
	order := func(a, b uint32) int { return fuller(&f.spaces.list[a], &f.spaces.list[b]) }
	slices.SortFunc(want, order)
	slices.SortFunc(have, func(a, b uint32) int { return order(b, a) })
	given := map[uint32]*forecast.Outlook{}
	for i := range min(len(want), len(have)) {
		s := &f.spaces.list[want[i]]
		f.spaces.list[have[i]].outlook.Stop()
		f.spaces.list[have[i]].outlook = nil
		s.outlook = f.outlooks.make(f.spaces.accounts[s.key.account], s)
		given[want[i]] = s.outlook
	}
	for _, n := range f.namespaces.list {
		if n != nil {
			f.flows.table.each(&n.flows, func(_ uint32, x *flow) {
				o := given[uint32(x.place)]
				switch {
				case o == nil:
				case x.phase == phaseLive:
					o.HaveLive(x.openedInterval())
					if x.flags&flagUnconfirmed != 0 {
						o.AddUnconfirmed(1)
					}
				case x.phase == phaseCooling:
					o.HaveCooling(x.moment)
				}
			})
		}
	}
}
