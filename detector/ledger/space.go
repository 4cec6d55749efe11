package ledger

import (
	"cmp"
	"math"
	"net/netip"

	"github.com/snatwatch/snatwatch/collector"
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

// spaceKey tells port spaces apart. vip and destination are zero where they do not matter.
type spaceKey struct {
	vip, destination address
	account          uint32
	port             uint16
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
	// noPorts counts opens that failed for lack of ports, noPortsForecast those of them
	// that a forecast knows of.
	noPorts, noPortsForecast uint64
}

// is reports whether both are the same.
func (k *spaceKey) is(o *spaceKey) bool {
	return k.destination.lo == o.destination.lo && k.destination.hi == o.destination.hi &&
		k.vip.lo == o.vip.lo && k.vip.hi == o.vip.hi && k.account == o.account && k.port == o.port
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

// exhausts returns the median time to exhaustion of s in seconds, +Inf if unknown.
func exhausts(s *portSpace) float64 {
	if s.outlook == nil || s.outlook.Latest() == nil {
		return math.Inf(1)
	}
	return s.outlook.Latest().TimeToExhaustion
}

// fuller orders by held ports, the most first, then by destination and VIP.
func fuller(a, b *portSpace) int {
	return cmp.Or(
		cmp.Compare(b.held(), a.held()),
		a.destination.Compare(b.destination),
		a.vip.Compare(b.vip),
	)
}
