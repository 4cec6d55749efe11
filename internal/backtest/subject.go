package backtest

import (
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// Ledger is the agent's ledger as a Detector.
type Ledger struct {
	ledger  *ledger.Ledger
	budget  *budget.Budget
	watched []watch
	// byLabel finds the watched by label and protocol, once there are many.
	byLabel map[labelled]int32
	found   detector.SpaceSnapshot
	now     collector.Time
	cfg     ledger.Config
	// state is what was last written of it, at savedAt, if keep says that a restart is to find it.
	keep    bool
	savedAt collector.Time
	state   []byte
}

// saveEvery is how often the state is written.
const saveEvery = time.Minute

// few is how many watched port spaces are looked up one by one.
const few = 4

// labelled is a port space as a snapshot names it.
type labelled struct {
	label    string
	protocol collector.Protocol
}

// watch is a port space that is looked up at each tick.
type watch struct {
	destination int32
	protocol    collector.Protocol
	label       string
}

// NewLedger makes a ledger of one budget, from start on. Of its port spaces, those of the watched
// destinations are shown; protocols are by destination.
func NewLedger(cfg ledger.Config, b *budget.Budget, protocols []collector.Protocol, watched []int32,
	start collector.Time,
) *Ledger {
	cfg.Budgets = []*budget.Budget{b}
	cfg.Start = start
	cfg.TrackedMax, cfg.ExportedMax = max(cfg.TrackedMax, len(protocols)), len(protocols)
	l := &Ledger{cfg: cfg, ledger: ledger.New(cfg), budget: b, byLabel: map[labelled]int32{}, now: start}
	for _, d := range watched {
		a := address(d)
		w := watch{d, protocols[d], a.String()}
		switch b.Terms(w.protocol).Unique {
		case budget.PerAddress:
			w.label = a.Addr().String() + ":*"
		case budget.PerNothing:
			w.label = "*"
		}
		l.watched = append(l.watched, w)
		l.byLabel[labelled{w.label, w.protocol}] = d
	}
	// Nothing was open before: an empty dump says so.
	l.ledger.Apply(&collector.Event{Kind: collector.Begin, At: start, Netns: netns})
	l.ledger.Apply(&collector.Event{Kind: collector.End, At: start, Netns: netns})
	return l
}

// Apply takes one event.
func (l *Ledger) Apply(e *collector.Event) { l.ledger.Apply(e) }

// Advance brings the ledger to now.
func (l *Ledger) Advance(now collector.Time) {
	l.now = now
	l.ledger.Advance(now)
	if l.keep && now.Sub(l.savedAt) >= saveEvery {
		l.savedAt, l.state = now, l.ledger.AppendState(l.state[:0])
	}
}

// Restart begins anew, with the state that was last written if there is to be one.
func (l *Ledger) Restart(now collector.Time, state bool) {
	l.cfg.Start, l.cfg.Budgets = now, []*budget.Budget{l.budget}
	l.ledger = ledger.New(l.cfg)
	if state && l.state != nil {
		if err := l.ledger.Restore(l.state, now); err != nil {
			panic(err) // it is its own
		}
	}
	l.ledger.Apply(&collector.Event{Kind: collector.Begin, At: now, Netns: netns})
}

// Resize gives the budget the share of another pool size.
func (l *Ledger) Resize(c record.Change, _ collector.Time) {
	b := *l.budget
	b.Nodes = c.Nodes
	b.TCP.Ports, b.TCP.Effective = c.Ports, c.Ports
	b.UDP.Ports, b.UDP.Effective = c.Ports, c.Ports
	b.NodesToNextTier, b.NextTierPorts = c.ToEdge, c.Beyond
	l.budget = &b
	l.ledger.Reconfigure([]*budget.Budget{&b})
}

// Spaces yields the watched destinations that the ledger tracks.
func (l *Ledger) Spaces(yield func(destination int32, s *detector.SpaceSnapshot)) {
	if len(l.watched) > few {
		for _, p := range l.ledger.Snapshot(l.now).Budgets[0].Protocols {
			for i := range p.Spaces {
				if d, ok := l.byLabel[labelled{p.Spaces[i].Destination, p.Protocol}]; ok {
					yield(d, &p.Spaces[i])
				}
			}
		}
		return
	}
	for _, w := range l.watched {
		var ok bool
		if l.found, ok = l.ledger.Space(l.budget.Name, w.protocol, netip.Addr{}, w.label); ok {
			yield(w.destination, &l.found)
		}
	}
}

// Variant is a way to set up the ledger: the forecast as it is, or with a part of it taken
// away to see what that part earns.
type Variant struct {
	Name   string
	Config ledger.Config
}

// Ablations are the forecast without one of its parts each, to see what that part earns, and
// without any.
func Ablations() []Variant {
	parts := []struct {
		name string
		part forecast.Part
	}{
		{"without ages of live flows", forecast.PartAges},
		{"without release schedule", forecast.PartRelease},
		{"without fast hazards", forecast.PartSpeeds},
		{"without the test of hazards", forecast.PartGate},
		{"without surprise", forecast.PartSurprise},
		{"without nowcast of arrivals", forecast.PartNowcast},
		{"without trend", forecast.PartTrend},
		{"without drift", forecast.PartDrift},
		{"without long means", forecast.PartMeans},
		{"without learned tail", forecast.PartTail},
		{"without recalibration", forecast.PartCalibration},
		{"without rhythm of the hour", forecast.PartRhythm},
		{"without course of the day", forecast.PartDay},
		{"without averaged fill", forecast.PartSettle},
	}
	var all forecast.Part
	var vs []Variant
	for _, p := range parts {
		all |= p.part
		vs = append(vs, Variant{p.name, ledger.Config{Without: p.part}})
	}
	return append(vs, Variant{"without any of it", ledger.Config{Without: all}})
}
