// Package ledger counts who holds which port. It takes events of flows, keeps every flow and its port until the
// provider releases the port, and counts live and cooling ports by port space.
//
// One goroutine owns a Ledger. Events go one way through it: apply finds the flow, flow and flow_end decide what the
// event means, space counts its port, forecast tells the forecast. Snapshot shows what is known.
package ledger

import (
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// LedgerConfig sets up a Ledger. The zero value works and counts nothing.
type Config struct {
	// Budgets that flows are counted under. They must not overlap: a flow counts under
	// the first that takes it. All are Local or none is.
	Budgets []*budget.Budget
	// TrackedMax is how many port spaces of one budget have an entry of their own;
	// default 10 000. The rest is folded.
	TrackedMax int
	// ForecastMax is how many port spaces are forecast; default 1 000.
	ForecastMax int
	// ExportedMax is how many port spaces of one budget and protocol a snapshot
	// shows, those of Shared not counted; default 50.
	ExportedMax int
	// ExportHold is how long a port space keeps its place among the exported,
	// so that series do not flap; default 5 minutes.
	ExportHold time.Duration
	// SpaceHold is how long an empty port space is remembered; default 15 minutes.
	SpaceHold time.Duration
	// Shared destinations, written as the label shows them, are always exported
	// while they are tracked.
	Shared []string
	// Start is when the agent started; default the time of the first event or Advance.
	Start collector.Time
	// Key makes the flow table's hash secret. It should be random where strangers open
	// flows; no result depends on it.
	Key [2]uint64
	// Without leaves parts of the forecast out, to see what they are worth; default none.
	Without forecast.Part
	// Judged, when set, is told of each forecast once it is known what came; default nil.
	Judged func(forecast.Judged)
}

func (c Config) withDefaults() Config {
	set := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	set(&c.TrackedMax, 10_000)
	set(&c.ForecastMax, 1_000)
	set(&c.ExportedMax, 50)
	if c.ExportHold == 0 {
		c.ExportHold = 5 * time.Minute
	}
	if c.SpaceHold == 0 {
		c.SpaceHold = 15 * time.Minute
	}
	return c
}

// Ledger counts who holds which port, from the events of one or more
// sources. One goroutine owns it; the snapshots that it makes are for all.
//
// A flow is known by the port it holds towards its destination. Where a moment is known
// only to an interval, a port counts as held until the last moment at which it may be.
type Ledger struct {
	cfg Config
	now collector.Time
	// wakeAt is the next tick of the timers: nothing is due before.
	wakeAt collector.Time
	local  bool // ports are those of Source
	byOwn  bool // a budget takes flows of certain VIPs alone, or has a port space for each

	table  flowTable
	timers wheel
	expire func([]timer)

	spaces     []portSpace // number 0 is not used
	spareSpace []uint32
	byKey      map[spaceKey]uint32
	owners     []owner
	accounts   []*account // two for each budget: TCP, UDP
	ports      map[uint64]portRefs
	vips       []netip.Addr // of translated flows, by number; 0 is not used
	vipNumbers map[netip.Addr]uint16
	vipHints   [vipHints]uint16 // what vipNumbers said last
	matches    [][2]match
	portBounds []uint32
	looks      [lookAhead]look // of the events that are applied next
	shared     map[string]bool

	byInode   map[uint64]*netns
	netns     []*netns // by number, nil where free
	lastNetns *netns
	swept     collector.Time // when vanished namespaces were last looked for

	stalls, newStalls map[stallKey]struct{}
	stalledSpaces     []uint32
	stallsSeen        collector.Time

	forecaster *forecast.Forecaster
	outlooks   int
	forecastAt int64 // second
	handedAt   collector.Time
	old        *legacy // during Reconfigure

	bounds []float64
	pick   picker
}

// NewLedger makes an empty ledger.
func New(cfg Config) *Ledger {
	l := &Ledger{
		cfg:        cfg.withDefaults(),
		spaces:     make([]portSpace, 1),
		ports:      map[uint64]portRefs{},
		vips:       make([]netip.Addr, 1),
		vipNumbers: map[netip.Addr]uint16{},
		shared:     map[string]bool{},
		byInode:    map[uint64]*netns{},
		stalls:     map[stallKey]struct{}{},
		newStalls:  map[stallKey]struct{}{},
		bounds:     newHistogramBounds(),
		forecaster: forecast.NewForecaster(cfg.Without),
	}
	l.forecaster.Judged = cfg.Judged
	for _, s := range cfg.Shared {
		l.shared[s] = true
	}
	l.expire = l.expired
	l.install(cfg.Budgets)
	if cfg.Start != 0 {
		l.Advance(cfg.Start)
	}
	return l
}

// Advance brings the ledger to now: ports cool down, idle flows lose theirs. A now
// before the last one is ignored.
func (l *Ledger) Advance(now collector.Time) {
	if now <= l.now {
		return
	}
	if l.now == 0 {
		l.timers.base = now
		if l.cfg.Start == 0 {
			l.cfg.Start = now
		}
		l.now = now
		l.startForecast()
	}
	l.now = now
	if now < l.wakeAt {
		return
	}
	l.timers.advance(now, l.expire)
	l.wakeAt = l.timers.next()
	l.forgetSpaces()
	l.forgetNetns()
	l.forecast()
}
