package ledger

import (
	"cmp"
	"math"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// place says what counts a flow: nothing (0), the tracked port space of that number, or a cell of the fold of
// its account.
type place uint32

const (
	placeFolded place = 1 << 31
	cellBits          = 16
)

func foldedPlace(account uint32, cell uint16) place {
	return placeFolded | place(account)<<cellBits | place(cell)
}

func (p place) folded() bool    { return p&placeFolded != 0 }
func (p place) account() uint32 { return uint32(p&^placeFolded) >> cellBits }
func (p place) cell() uint16    { return uint16(p) }

// accountIn returns the number of the account that p belongs to; of has those of the port spaces, by number.
func (p place) accountIn(of []uint32) uint32 {
	if p.folded() {
		return p.account()
	}
	return of[p]
}

// spaceKey tells port spaces apart. vip, destination and zone are zero where they do not matter.
type spaceKey struct {
	vip, destination address
	account          uint32
	port             uint16
	zone             uint16 // of conntrack: the kernel gives out a port once in each
}

// portSpace is one tracked port space, four lines of the processor's cache.
type portSpace struct {
	// An open or an end touches the first fields only, in two of these lines.
	tally
	key          spaceKey
	outlook      *forecast.Outlook
	used         bool
	shared       bool   // of Config.Shared
	next, prev   uint32 // in its budget's list, while it is empty
	heldForecast int32  // ports held at the last forecast
	// emptied is when it last became empty.
	emptied     collector.Time
	vip         netip.Addr
	destination netip.AddrPort // port 0 where it does not matter; zero where nothing does
	// label and vipLabel are made when they are first shown.
	label, vipLabel string
	// exportedUntil is how long it keeps its place among the exported.
	exportedUntil collector.Time
	// exhaustedAt is when an open last failed for lack of ports, or a forecast saw it full.
	exhaustedAt collector.Time
	failing     bool // an open failed since the last forecast
	// full is how many ports were held when opens found none, although the budget has more; 0 if that was not seen.
	full int32
}

// is reports whether both are the same.
func (k *spaceKey) is(o *spaceKey) bool {
	return k.destination.lo == o.destination.lo && k.destination.hi == o.destination.hi &&
		k.vip.lo == o.vip.lo && k.vip.hi == o.vip.hi && k.account == o.account && k.port == o.port && k.zone == o.zone
}

// portRefs counts the flows that share one port of a port space.
type portRefs struct{ live, cooling int32 }

func (r portRefs) split() (live, cooling int) {
	switch {
	case r.live > 0:
		return 1, 0
	case r.cooling > 0:
		return 0, 1
	}
	return 0, 0
}

// destinationLabel returns destination d as the metric label shows it.
func destinationLabel(d netip.AddrPort, u budget.Uniqueness) string {
	switch {
	case u == budget.PerNothing || !d.Addr().IsValid() || d.Addr().IsUnspecified():
		return "*"
	case u == budget.PerAddress && d.Addr().Is6():
		return "[" + d.Addr().String() + "]:*"
	case u == budget.PerAddress:
		return d.Addr().String() + ":*"
	}
	return d.String()
}

// exhaustedFor is how long a port space counts as exhausted after an open failed there or it was full, unless a tenth
// of its ports comes free before. In between ports are freed and taken again and no failure is counted, since it is
// counted when sockets are next read, or long after: forecasts would flip between now and some minutes.
const exhaustedFor = 20 * time.Second

// exhausted reports whether s has no port left, or had none a moment ago.
func (ss *spaces) exhausted(s *portSpace) bool {
	held, ceiling := s.held(), ss.ceilingOf(s)
	return held >= ceiling || s.exhaustedAt != 0 && ss.clock.now.Sub(s.exhaustedAt) < exhaustedFor && held*10 > ceiling*9
}

// forecast returns what is said of s, nil if it has no forecast: that it runs out now, if it is exhausted.
func (ss *spaces) forecast(s *portSpace) *detector.Forecast {
	if s.outlook == nil || s.outlook.Latest() == nil {
		return nil
	}
	f := s.outlook.Latest()
	if !ss.exhausted(s) {
		return f
	}
	now := *f
	now.TimeToExhaustion = 0
	for h := range now.Probability {
		now.Probability[h] = 1
	}
	return &now
}

// exhausts returns the median time to exhaustion of s in seconds, +Inf if unknown.
func (ss *spaces) exhausts(s *portSpace) float64 {
	switch {
	case s.outlook == nil || s.outlook.Latest() == nil:
		return math.Inf(1)
	case ss.exhausted(s):
		return 0
	}
	return s.outlook.Latest().TimeToExhaustion
}

// fuller orders by held ports, the most first, then by destination, VIP and zone.
func fuller(a, b *portSpace) int {
	return cmp.Or(
		cmp.Compare(b.held(), a.held()),
		a.destination.Compare(b.destination),
		a.vip.Compare(b.vip),
		cmp.Compare(a.key.zone, b.key.zone),
	)
}
