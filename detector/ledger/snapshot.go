package ledger

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// Snapshot returns what is known at now. Its cost grows with the tracked port spaces, not with flows.
func (l *Ledger) Snapshot(now collector.Time) *detector.Snapshot {
	l.Advance(now)
	s := &detector.Snapshot{At: l.clock.now, Warming: l.Warming()}
	for _, n := range l.namespaces.list {
		if n == nil {
			continue
		}
		s.Netns = append(s.Netns, detector.NetnsSnapshot{
			Netns: n.inode, Exact: n.exact, EventsLost: n.lost, Resyncs: n.resyncs, Mismatches: n.check.mismatches,
			Vanished: n.check.vanished, Reopened: n.check.reopened,
			Flows: n.flows.count, OtherProtocols: n.other,
		})
	}
	slices.SortFunc(s.Netns, func(a, b detector.NetnsSnapshot) int { return cmp.Compare(a.Netns, b.Netns) })
	l.pick.sort()
	for i, b := range l.matcher.budgets {
		bs := detector.BudgetSnapshot{Budget: b, Brier: forecast.Brier(l.forecastsOf(i))}
		for h, score := range bs.Brier {
			bs.Brier[h] = detector.Estimate(score)
		}
		bs.Contradicted, bs.Contradiction = forecast.Contradicted(l.forecastsOf(i))
		if !bs.Contradicted {
			bs.Contradicted, bs.Contradiction = l.shortage.contradiction(uint32(i))
		}
		for a := 2 * i; a < 2*i+2; a++ {
			if l.spaces.accounts[a].terms.Ports > 0 {
				bs.Protocols = append(bs.Protocols, l.accountSnapshot(uint32(a)))
			}
		}
		s.Budgets = append(s.Budgets, bs)
	}
	return s
}

// Warming reports whether ports of flows that ended before the start may be cooling unseen, or no
// dump was complete yet.
func (l *Ledger) Warming() bool {
	longest := time.Duration(0)
	for _, a := range l.spaces.accounts {
		if a.terms.Ports > 0 && !a.entryHolds { // else the first dump shows the entries that hold its ports
			longest = max(longest, slices.Max(a.terms.CoolDown[:]))
		}
	}
	if l.clock.now.Sub(l.clock.start) < longest {
		return true
	}
	for _, n := range l.namespaces.list {
		if n != nil && n.complete != 0 {
			return false
		}
	}
	return true
}

// forecastsOf returns the forecast accounts of budget i.
func (l *Ledger) forecastsOf(i int) [2]*forecast.Account {
	return [2]*forecast.Account{l.spaces.accounts[2*i].forecast, l.spaces.accounts[2*i+1].forecast}
}

func (l *Ledger) accountSnapshot(number uint32) detector.AccountSnapshot {
	a := l.spaces.accounts[number]
	p := detector.AccountSnapshot{
		Protocol: a.protocol, Terms: *a.terms,
		Held: a.held(), Live: a.live, Cooling: a.cooling, Opening: a.opening, Stalled: a.stalled,
		Opened: a.opened, Closed: a.closed,
		Lifetime: a.lifetimes.snapshot(l.bounds), Hold: a.holdTimes.snapshot(l.bounds),
		PortsInUse: a.inUse,
		Unanswered: a.unanswered, Refused: a.refused, NoPorts: a.noPorts,
	}
	p.Other = a.snapshot(l.clock.now)
	p.Other.Destination = "other"
	own := l.pick.byAccount[number]
	p.Tracked = len(own)
	for _, n := range own {
		s := &l.spaces.list[n]
		p.Busiest = max(p.Busiest, s.held())
		if f, ok := l.spaces.forecast(s); ok {
			p.Forecast.Add(&f)
		}
	}
	if a.fold != nil && a.fold.occupied > 0 {
		p.Folded, p.FoldedMax = a.fold.spaces(), a.fold.largest()
	}
	for _, n := range l.pick.choose(number) {
		s := l.spaces.snapshot(&l.spaces.list[n])
		s.Owners = l.spaces.holders.largest(n, l.spaces.list[n].held(), l.clock.now)
		p.Spaces = append(p.Spaces, s)
		p.Other.Held -= s.Held
		p.Other.Live -= s.Live
		p.Other.Cooling -= s.Cooling
		p.Other.Opening -= s.Opening
		p.Other.Stalled -= s.Stalled
		p.Other.Opened -= min(s.Opened, p.Other.Opened)
		p.Other.OpensPerSecond = max(p.Other.OpensPerSecond-s.OpensPerSecond, 0)
	}
	for _, n := range own {
		if _, shown := l.pick.taken[n]; !shown {
			p.FoldedMax = max(p.FoldedMax, l.spaces.list[n].held())
		}
	}
	p.Owners = l.spaces.holders.namedTotals(a, p.Spaces)
	return p
}

// Space returns one port space of all ports, which need not be among the exported; ok is false if it is not tracked.
// vip is the zero Addr where VIPs form one port space; destination is written as the label shows it.
func (l *Ledger) Space(name string, p collector.Protocol, vip netip.Addr,
	destination string,
) (s detector.SpaceSnapshot, ok bool) {
	for n := range l.spaces.list {
		sp := &l.spaces.list[n]
		if !sp.used || sp.key.class != budget.AnyClass {
			continue
		}
		a := l.spaces.accounts[sp.key.account]
		if a.budget.Name == name && a.protocol == p && sp.vip == vip &&
			destinationLabel(sp.destination, a.terms.Unique) == destination {
			return l.spaces.snapshot(sp), true
		}
	}
	return detector.SpaceSnapshot{}, false
}

// snapshot returns s as a snapshot shows it.
func (ss *spaces) snapshot(s *portSpace) detector.SpaceSnapshot {
	if s.label == "" {
		s.label, s.vipLabel = destinationLabel(s.destination, ss.accounts[s.key.account].terms.Unique), s.vipText()
	}
	out := s.snapshot(ss.clock.now)
	out.VIP, out.Destination, out.Class = s.vipLabel, s.label, s.key.class
	if f, ok := ss.forecast(s); ok {
		shown := f
		out.Forecast = &shown
	}
	return out
}

// forecast returns the latest forecast of s as a snapshot has it; ok is false if there is none. If s is exhausted, the
// forecast says that it runs out now.
func (ss *spaces) forecast(s *portSpace) (f detector.Forecast, ok bool) {
	if s.outlook == nil || s.outlook.Latest() == nil {
		return f, false
	}
	f = s.outlook.Latest().Estimated()
	if ss.exhausted(s) {
		f.TimeToExhaustion = 0
		for h := range f.Probability {
			f.Probability[h] = 1
		}
	}
	return f, true
}

func (t *tally) snapshot(now collector.Time) detector.SpaceSnapshot {
	return detector.SpaceSnapshot{
		Held: t.held(), Live: t.live, Cooling: t.cooling,
		Opening: t.opening, Stalled: t.stalled, Opened: t.opened,
		OpensPerSecond: t.rate.at(now), MeanHold: t.holds.mean(),
	}
}

// namedTotals returns the totals under account a of the owners that its port spaces, as shown, name: of the whole where
// they name a part.
func (hs *holders) namedTotals(a *account, spaces []detector.SpaceSnapshot) (out []detector.OwnerTotals) {
	named := map[collector.OwnerNumber]bool{}
	for i := range spaces {
		for _, o := range spaces[i].Owners {
			if o.Number != collector.OwnerUnknown && o.Number != collector.OwnerOther {
				named[hs.whole(o.Number)] = true
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(named)) {
		t := a.owners.at(n)
		out = append(out, detector.OwnerTotals{Number: n, Opened: t.count, MeanLifetime: t.lifetimes.mean()})
	}
	return out
}
