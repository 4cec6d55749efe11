package ledger

import (
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
)

// zoned is the part of the intake that tells several passes of one connection from several connections.
type zoned struct{ *intake }

// admit reports whether the flow of s counts, and is not another pass of a connection that does.
func (in zoned) admit(s *sighting) bool {
	p, f := &s.netns.passes, &s.event.Flow
	if b := in.spaces.accounts[s.account].budget; b.Translated || b.Local {
		return true
	}
	if p.of == nil {
		p.on, p.of = true, map[uint64]pass{}
	}
	comes, leaves := in.endKey(f, f.Source), in.endKey(f, f.VIP)
	known, other := p.of[leaves]
	sameSide := known.leaving
	if !other {
		known, other = p.of[comes]
		sameSide = !known.leaving
	}
	// Two passes that both translate are of one connection only if what leaves one of them comes to the other.
	sameZone := known.zone == f.Zone && known.out == f.ZoneOut
	apart := sameSide && known.translated && f.Translated && !sameZone
	if !other && f.Zone|f.ZoneOut != 0 {
		known, other = in.fromZone0(s)
		sameZone = false
	}
	switch {
	case !other, apart, sameZone, s.netns.dump-known.dump > passHold:
	case f.Translated && !known.translated:
		in.takePass(s, known.zone)
	default:
		return false
	}
	if !apart {
		now := pass{zone: f.Zone, out: f.ZoneOut, dump: s.netns.dump, translated: f.Translated}
		p.of[comes] = now
		now.leaving = true
		p.of[leaves] = now
	}
	return true
}

// endKey returns a key of one end of f together with its destination.
func (in zoned) endKey(f *collector.Flow, end netip.AddrPort) uint64 {
	own, to := pack(end.Addr()), pack(f.Destination.Addr())
	return sipHash(in.matcher.secret, own.hi, own.lo, to.hi, to.lo,
		uint64(f.Protocol)|uint64(end.Port())<<8|uint64(f.Destination.Port())<<24).lo
}

// fromZone0 returns the pass of the connection of s through zone 0. That pass is in no map if it was counted before a
// flow of any other zone came.
func (in zoned) fromZone0(s *sighting) (pass, bool) {
	i := in.passIn(s, 0)
	if i == 0 {
		return pass{}, false
	}
	f := in.flows.table.at(i)
	return pass{dump: f.dump, translated: f.flags&flagTranslated != 0, leaving: true}, f.phase == phaseLive
}

// passIn returns the entry of another flow in that zone with the destination of s and one of its ends, 0 if there is
// none.
func (in zoned) passIn(s *sighting, zone uint16) uint32 {
	f := s.event.Flow
	f.Zone = zone
	for _, end := range [...]netip.AddrPort{f.VIP, f.Source} {
		k := keyOf(in.matcher.secret, &f, pack(end.Addr()), s.destination, end.Port())
		if i := in.flows.table.find(k); i != 0 && k != s.key {
			return i
		}
	}
	return 0
}

// takePass gives the count of a connection, which its pass through that zone has, to the pass of s, which translates.
func (in zoned) takePass(s *sighting, zone uint16) {
	old := in.passIn(s, zone)
	if old == 0 || in.flows.table.at(old).phase != phaseLive {
		return
	}
	if in.flows.table.find(s.key) != 0 { // both passes were counted before any flow of another zone came
		f := in.flows.table.at(old)
		if o := f.openedInterval(); o.From != 0 && o.To >= in.clock.start && f.flags&flagEndCounted == 0 {
			in.spaces.accountOf(f).closed[collector.ReasonUnknown]++ // since its open was counted
		}
		in.flows.drop(s.netns, old, f)
		return
	}
	e := &s.event.Flow
	i := in.flows.table.add(s.key, &s.netns.flows)
	f, was := in.flows.table.at(i), in.flows.table.at(old)
	key := f.key
	*f = *was
	in.spaces.count(was, -1, 0)
	f.key, f.id, f.before = key, e.ID, 0
	f.flags |= flagTranslated
	f.port, f.vip = e.VIP.Port(), in.vips.number(e.VIP.Addr(), s.home)
	in.spaces.count(f, 1, 0)
	in.flows.table.remove(old, &s.netns.flows)
	at, _ := in.spaces.accountOf(f).deadline(f)
	in.flows.alarm(i>>chunkShift, at)
	s.entry, s.flow = i, f
}
