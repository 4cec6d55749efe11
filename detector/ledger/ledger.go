// Package ledger counts who holds which port. It takes events of flows, keeps every flow and its port until the
// provider releases the port, and counts live and cooling ports by port space. One goroutine owns a Ledger.
//
// The way of a flow, from its open to the release of its port:
//
//	event     ledger.go     Ledger.Apply takes an event of a flow, of a dump or of a loss
//	meaning   intake.go     intake.take decides what the event means: a flow opened, is shown, or ended
//	key       flowkey.go    keyer.lookup makes the flow's key of its addresses and ports
//	entry     flowtable.go  flowTable.find finds the entry of the flow by its key
//	budget    match.go      matcher.match finds the budget that a new flow counts under
//	open      intake.go     intake.start makes the entry live, intake.placeFor finds its port space
//	held      spaces.go     spaces.holdPort counts its port in the port space and the account
//	close     release.go    flows.end ends the flow: an event said so, a dump lacks it, or the budget's timeout passed
//	cooling   release.go    account.release decides when the port is free, flows.coolDown counts it as cooling
//	release   timers.go     flows.flowExpired frees the port
//
// Beside the way: dump.go takes in what a dump shows and what it lacks, reuse.go another flow on a known port,
// passes.go several entries of one connection. check.go and netns.go say whether the ledger is exact.
package ledger

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// Config sets up a Ledger. The zero value works and counts nothing.
type Config struct {
	// Budgets that flows count under. They must not overlap: a flow counts under the first that takes it. All are
	// Local or none is.
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
	// Owners counts who holds the ports of each port space, by Flow.Owner. A snapshot names at most OwnersMax of each;
	// default 20. The rest is summed.
	Owners    bool
	OwnersMax int
	// Whole returns the owner that the given owner is a part of, such as the pod of a container; an owner that is no part
	// it returns unchanged. Opened flows and lifetimes count for the whole. Default: no owner is a part.
	Whole func(collector.OwnerNumber) collector.OwnerNumber
	// Start is when the agent started; default the time of the first event or Advance.
	Start collector.Time
	// Key makes the flow table's hash secret. It should be random where strangers open
	// flows; no result depends on it.
	Key [2]uint64
	// Without leaves parts of the forecast out, to see what they are worth; default none.
	Without forecast.Part
	// Judged, when set, gets each forecast once it is due, with what came; default nil.
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
	set(&c.OwnersMax, 20)
	if c.Whole == nil {
		c.Whole = func(n collector.OwnerNumber) collector.OwnerNumber { return n }
	}
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
// The port that a flow holds towards its destination identifies the flow. If the end of a flow is known to an interval
// only, its port counts as held for as long as it may be.
type Ledger struct {
	clock      clock
	matcher    matcher
	vips       vips
	namespaces namespaces
	outlooks   outlooks
	spaces     spaces
	stalls     stalls
	shortage   shortage
	flows      flows
	intake     intake
	forecasts  forecasts
	pick       picker

	ahead  ahead
	bounds []float64 // of histograms
}

// New makes an empty ledger.
func New(cfg Config) *Ledger {
	cfg = cfg.withDefaults()
	l := &Ledger{bounds: newHistogramBounds()}
	l.clock.start = cfg.Start
	l.matcher.secret = cfg.Key
	l.vips = newVIPs()
	l.namespaces = namespaces{clock: &l.clock, byInode: map[uint64]*netns{}}
	l.outlooks = outlooks{clock: &l.clock, forecaster: forecast.NewForecaster(cfg.Without), max: cfg.ForecastMax}
	l.spaces = spaces{
		clock: &l.clock, outlooks: &l.outlooks,
		secret: cfg.Key, trackedMax: cfg.TrackedMax, hold: cfg.SpaceHold, shared: map[string]bool{},
		holders: holders{on: cfg.Owners, max: cfg.OwnersMax, hold: cfg.ExportHold, whole: cfg.Whole},
	}
	l.outlooks.forecaster.Judged = cfg.Judged
	for _, s := range cfg.Shared {
		l.spaces.shared[s] = true
	}
	l.stalls = newStalls(&l.spaces, &l.vips)
	l.shortage = shortage{clock: &l.clock, matcher: &l.matcher, spaces: &l.spaces, waiting: map[shortOf]*shortOpens{}}
	l.shortage.nowhere = map[uint32]nowhere{}
	l.flows = flows{clock: &l.clock, namespaces: &l.namespaces, spaces: &l.spaces, stalls: &l.stalls}
	l.flows.expire = l.flows.expired
	l.intake = intake{
		clock: &l.clock, matcher: &l.matcher, vips: &l.vips,
		flows: &l.flows, spaces: &l.spaces,
	}
	l.forecasts = forecasts{
		clock: &l.clock, outlooks: &l.outlooks,
		spaces: &l.spaces, flows: &l.flows, namespaces: &l.namespaces,
	}
	l.pick = picker{spaces: &l.spaces, max: cfg.ExportedMax, hold: cfg.ExportHold}
	l.install(cfg.Budgets)
	if cfg.Start != 0 {
		l.Advance(cfg.Start)
	}
	return l
}

// install makes accounts for budgets. An account whose budget had the same name before goes on with its counts.
func (l *Ledger) install(budgets []*budget.Budget) {
	before := map[string][]*account{}
	for i := 0; i+1 < len(l.spaces.accounts); i += 2 {
		before[l.spaces.accounts[i].budget.Name] = l.spaces.accounts[i : i+2]
	}
	var accounts []*account
	for i, b := range budgets {
		for k, p := range []collector.Protocol{collector.TCP, collector.UDP} {
			a := &account{}
			if old := before[b.Name]; old != nil {
				*a = *old[k]
				a.live, a.cooling, a.opening, a.stalled, a.fold = 0, 0, 0, 0, nil
			}
			a.under(b, uint32(i), p)
			accounts = append(accounts, a)
		}
	}
	l.spaces.install(accounts, len(budgets))
	l.matcher.install(budgets, accounts)
	if l.clock.now != 0 {
		l.outlooks.start(accounts)
	}
}

// Advance brings the ledger to now: ports are released, and idle flows lose theirs. A now that is before the last one
// is ignored.
func (l *Ledger) Advance(now collector.Time) {
	if now <= l.clock.now {
		return
	}
	if l.clock.now == 0 {
		l.flows.timers.base = now
		if l.clock.start == 0 {
			l.clock.start = now
		}
		l.clock.now = now
		l.outlooks.start(l.spaces.accounts)
	}
	l.clock.now = now
	if !l.flows.advance() {
		return
	}
	l.spaces.forgetEmpty()
	l.namespaces.settle(now)
	l.namespaces.forget(now)
	l.shortage.settle()
	l.forecasts.make()
}

// Apply takes one event. It keeps nothing of e.
func (l *Ledger) Apply(e *collector.Event) {
	l.apply(e, nil, 0)
}

// ApplyAll lets each ledger take events in order, with the same result as Apply. It costs less: a look-up in a table of
// a million flows mostly waits for memory, and ApplyAll has the processor read the flows of several events ahead. For
// ledgers with the same Config.Key it makes the key of a flow once.
func ApplyAll(events []collector.Event, ledgers ...*Ledger) {
	for len(events) > 0 {
		now := events[:min(len(events), readAhead)]
		events = events[len(now):]
		for i, l := range ledgers {
			if i > 0 && l.matcher.keyer == ledgers[i-1].matcher.keyer {
				l.ahead.lookups = ledgers[i-1].ahead.lookups
			} else {
				l.ahead.lookUp(&l.matcher.keyer, now)
			}
			l.flows.table.fetch(l.ahead.lookups)
		}
		for _, l := range ledgers {
			l.flows.table.candidates(l.ahead.lookups, l.ahead.entries[:])
		}
		for _, l := range ledgers {
			for n := range now {
				l.apply(&now[n], &l.ahead.lookups[n], l.ahead.entries[n])
			}
		}
	}
}

// ahead is what ApplyAll has looked up of the events that are applied next.
type ahead struct {
	lookups []lookup          // in own, or another ledger's
	entries [readAhead]uint32 // numbers of the entries that their flows likely have
	own     [readAhead]lookup
}

func (a *ahead) lookUp(y *keyer, events []collector.Event) {
	a.lookups = a.own[:len(events)]
	for i := range events {
		y.lookup(&events[i], &a.lookups[i])
	}
}

// apply takes event e. k is its lookup, nil if not made yet, and entry is the number of the entry that its flow likely
// has, 0 if unknown.
func (l *Ledger) apply(e *collector.Event, k *lookup, entry uint32) {
	if e.At > l.clock.now {
		l.Advance(e.At)
	}
	n := l.namespaces.of(e.Netns)
	n.lastEvent = l.clock.now
	if e.Kind == collector.Opened {
		n.lastOpen = l.clock.now
	}
	switch e.Kind {
	case collector.Begin:
		n.beginDump(e.At)
	case collector.End:
		l.flows.endDump(n, e.At, e.Announced, l.matcher.translates)
		l.shortage.countPorts(&l.flows, n)
	case collector.Abort:
		n.dumping = false
	case collector.Overrun:
		n.overrun(e.At)
	case collector.Gap:
		n.gap(e.At)
	case collector.NoPort:
		l.shortage.note(n, e)
	case collector.Seen, collector.Opened, collector.Closed:
		l.intake.take(n, e, k, entry)
	}
}

// Untaken counts the flows that this machine translates and that no budget took when they came. Where it rises, the
// budgets may lack a rule or an address that is new.
func (l *Ledger) Untaken() uint64 { return l.intake.untaken }

// ObserveDrops takes in how many first packets the kernel has dropped because it could not make a conntrack entry for
// the flow. They are of flows of other machines: nobody here sees the sockets of those.
func (l *Ledger) ObserveDrops(at collector.Time, packets uint64) {
	l.Advance(at)
	l.shortage.dropped(packets)
}

// ObserveStalls takes all sockets whose first SYN was sent again and is unanswered at the time at. They replace those
// of the last observation. A stalled open towards a port space at its effective ceiling failed for lack of ports; it
// counts once.
//
// Translated says of a socket that this machine's conntrack has an entry of its flow: then the NAT of this machine gave
// it a port, and the open did not fail for lack of one.
//
// A socket does not know whether it will be translated, nor to which VIP. It counts under the first budget that reaches
// its destination; where each VIP has a port space of its own, it counts in the budget and in no port space.
func (l *Ledger) ObserveStalls(at collector.Time, stalled []collector.Flow) {
	l.Advance(at)
	l.stalls.observe(l.clock.now, stalled)
}

// AppendState appends what the forecast learned so far, for Restore.
func (l *Ledger) AppendState(b []byte) []byte {
	var spaces []forecast.Known
	for i := range l.spaces.list {
		if s := &l.spaces.list[i]; s.outlook != nil {
			spaces = append(spaces, forecast.Known{Name: s.name(l.spaces.accounts[s.key.account]), Outlook: s.outlook})
		}
	}
	return l.outlooks.forecaster.AppendState(b, l.clock.now, spaces, l.outlooks.max)
}

// Restore takes in what AppendState gave, before the first event. Where the bytes are
// no state it returns an error that is ErrState, and the ledger is as it was.
func (l *Ledger) Restore(state []byte, now collector.Time) error {
	st, err := forecast.ReadState(state, now)
	if err != nil {
		return err
	}
	l.Advance(now)
	l.outlooks.forecaster.Restore(&st, now)
	return nil
}

// MarkOwners sets used for each owner number that a flow has, or that keeps a place, and for the wholes of these.
func (l *Ledger) MarkOwners(used *[1 << 16]bool) {
	for _, block := range l.flows.table.blocks {
		for i := range block {
			used[block[i].owner] = true
		}
	}
	now := uint32(forecast.Second(l.clock.now))
	for i := range l.spaces.holders.sets {
		for _, e := range l.spaces.holders.sets[i].list {
			if e.held > 0 || e.until > now {
				used[e.owner] = true
			}
		}
	}
	for n := range used {
		if used[n] {
			used[l.spaces.holders.whole(collector.OwnerNumber(n))] = true
		}
	}
}

// ForgetOwner drops what is known of owner number n, which no flow has: another owner gets it.
func (l *Ledger) ForgetOwner(n collector.OwnerNumber) {
	for _, a := range l.spaces.accounts {
		if int(n) < len(a.owners) {
			a.owners[n] = ownerTotal{}
		}
	}
}
