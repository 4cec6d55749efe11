// Package forecast says how many ports a busy port space will hold, how likely they run out, and when: from hold
// times, arrivals, what recurs, and how wrong its own forecasts were. It also says when what is seen cannot be
// under the configured budget. passage.go computes the probability.
package forecast

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Forecaster holds what all forecasts of one ledger share: the agent-wide hold times that young budgets borrow, and
// room to compute in.
type Forecaster struct {
	edges *ageEdges
	// all sums the hold times of every budget, as of second since.
	all   occurrence
	since float64
	work  workspace
	// factory and calibration are what tails and calibration start from.
	factory     kindTails
	common      kindShares
	calibration [detector.NumHorizons]calibration
	// slower is by how much the log-odds rise where lifetimes surely grew by a factor.
	slower [detector.NumHorizons]raise
	// scores are the errors that the factory expects of each component, power is how much they count.
	scores [detector.NumHorizons][components]float32
	power  [detector.NumHorizons][2]float64
	// Judged, when set, gets each forecast once it is due, with what came.
	Judged func(Judged)
	// without turns parts of the method off, for the ablation table alone.
	without Part
	// accounts stand in the order they were made, so that the same input gives the same bytes.
	accounts []*Account
	// saved has the memories of port spaces, from a state, that had no flow since.
	saved map[SpaceName]*saved
}

// NewForecaster makes a forecaster without accounts; without leaves parts of the method out.
func NewForecaster(without Part) *Forecaster {
	f := &Forecaster{
		edges: newAgeEdges(), without: without,
		calibration: factoryCalibration(), slower: factorySlower(), scores: factoryScores(), power: scorePower(),
	}
	f.factory, f.common = factoryTails()
	f.work.edges = f.edges
	f.work.curve.start(f.edges)
	f.work.grid, f.work.horizon = aheadGrid(), horizonAt()
	f.work.taus = hazardTaus()
	f.work.bins = newTailEdges()
	f.work.doubt = kindDoubt()
	f.work.worth = tailWorth()
	f.work.bursts = make([]expected, 0, burstsMost)
	return f
}

// Account is one protocol of one budget: the hold times that its young port spaces borrow, and the scores of its past
// forecasts.
type Account struct {
	f        *Forecaster
	name     string
	protocol collector.Protocol
	// classes are the distinct cool-downs in seconds; classOf maps a reason to one.
	classes [coolClasses]float64
	classOf [collector.NumReasons]uint8
	longest int64 // seconds of the longest cool-down
	times   lifetimes
	hours   occurrence
	// parent are the hazards that its port spaces borrow.
	parent rates
	// ended counts closes by class; older ones weigh less.
	ended [coolClasses]float64
	last  float64 // second of the last tick, 0 before the first

	pool    poolTrend
	terms   budget.Terms    // as of the last setTerms
	ports   float64         // nominal budget now
	ceiling float64         // effective ceiling now
	next    float64         // effective ceiling beyond the edge of the budget's table
	crossed [aheads]float64 // probability that the pool has crossed that edge by then

	contradiction contradiction
	samples       []*sample
	// brier sums the squared errors of probabilities that came due, scored counts them; both decay.
	brier, scored [detector.NumHorizons]float64
}

// Account makes the account of protocol p of budget b.
func (f *Forecaster) Account(b *budget.Budget, p collector.Protocol, now collector.Time) *Account {
	s := &Account{f: f, name: b.Name, protocol: p}
	s.setTerms(b.Terms(p))
	s.times.start(Second(now))
	f.accounts = append(f.accounts, s)
	return s
}

// setTerms takes the cool-downs of t; past closes keep their class. Samples and a contradiction belong to the terms
// before.
func (s *Account) setTerms(t *budget.Terms) {
	if s.terms != *t {
		s.dropSamples()
		s.terms, s.contradiction = *t, contradiction{}
	}
	n := 0
	s.longest = 0
	for r, c := range t.CoolDown {
		sec := c.Seconds()
		s.longest = max(s.longest, int64(c+time.Second-1)/int64(time.Second))
		k := 0
		for k < n && s.classes[k] != sec {
			k++
		}
		if k == n && n < coolClasses {
			s.classes[n] = sec
			n++
		}
		s.classOf[r] = uint8(min(k, coolClasses-1))
	}
}

// Clear forgets which accounts there are; Account and Keep list them again.
func (f *Forecaster) Clear() { f.accounts = nil }

// Keep goes on with account s under terms t.
func (f *Forecaster) Keep(s *Account, t *budget.Terms) {
	s.setTerms(t)
	f.accounts = append(f.accounts, s)
}

// Dropped says that no source shows a live flow any more.
func (s *Account) Dropped(opened collector.Interval) { s.times.drop(opened) }

// Opened says that a flow opened in any port space of the account. Closed gets the same interval. An interval without
// From is a flow older than the agent.
func (s *Account) Opened(opened collector.Interval) { s.times.open(opened) }

// Closed says that a flow ended in any port space of the account.
func (s *Account) Closed(opened, ended collector.Interval, reason collector.Reason) {
	s.times.close(opened, ended, s.f.edges)
	s.ended[s.classOf[reason]]++
}

// Outlook is the forecast of one busy port space, with what it learned.
type Outlook struct {
	// The first fields are those that every open and end change, in few lines of the processor's cache.
	account *Account
	// fresh counts flows by the second they opened, freed ports by the second they are released. came, rhythm and
	// cools get many of them at once, at the next tick at the latest.
	fresh, freed fewSeconds
	ended        [coolClasses]float32
	// endedLately counts the ends of the last seconds, so that a change in how flows end shows.
	endedLately [coolClasses]float32
	// spread counts flows whose open is known to an interval only, to spread them evenly over it.
	spread uint32
	// unconfirmed counts live flows of which only the first packet is known.
	unconfirmed int32
	hang        hanging
	evidence    evidence
	times       lifetimes
	speeds      [numSpeeds]occurrence
	cools       releaseWheel
	came        arrivals
	rhythm      rhythm
	// opened counts arrivals; openedBefore is its value at the last tick, lastOpened and lastSeconds are
	// the arrivals of that tick and how long it took.
	opened, openedBefore    float64
	lastOpened, lastSeconds float32
	began, last             float64 // seconds of the first and the last tick
	dispersion              float64 // variance of arrivals in their mean, at least 1
	rateMean, fillMean      float64 // over half a day
	changed                 float64 // how surely lifetimes have just changed, from 0 to 1
	// suspected is how likely lifetimes have just changed, from 0 to 1, by the ends of all ages over seconds; suspectedAt
	// is the second in which that began. stretched is how likely they changed by a factor, slower how likely they grew by
	// one, both from 0 to 1.
	suspectedAt                  uint32
	suspected, stretched, slower float32
	// apart is by how much the number of ends of the last seconds differs from the number foretold; chance is the variance
	// that this difference has by chance alone.
	apart, chance float32
	// fillLately is the mean fill over so long that it and the hold of a port make noiseless seconds.
	fillLately float32
	// error is by how much the fill leaves the 15 s forecast, in ports per second;
	// fifteen are the forecasts that it is measured by.
	error   float32
	fifteen [16]struct {
		due  uint32 // second: it is 2106 before they are too many
		fill float32
	}
	again reopened
	// before has the ports that were cooling when the restored state was written; nil without a state.
	before *earlier
	// shown has the ports of flows that ended before start, and after a restored state was written, and that a source
	// still showed; nil if there are none, and once none can be cooling.
	shown *releaseWheel
	// start is the second in which the outlook started, resumed the second until which came has the arrivals of a
	// restored state; 0 without one.
	start, resumed uint32
	lumps          lumps
	learnt         [detector.NumHorizons]learnt
	proofs         proofs
	// grew is slower, but falls to 0 over the longest cool-down: for so long grown lifetimes go on to fill the port space.
	grew     float32
	rate     float64 // arrivals per second, as of the last tick
	ceiling  float64 // effective ceiling of this port space, as of the last tick
	forecast detector.Forecast
}

// Outlook starts the forecast of a port space at now. HaveLive and HaveCooling then add what the port space holds
// already.
func (s *Account) Outlook(now collector.Time) *Outlook {
	o := &Outlook{account: s, cools: newReleaseWheel(Second(now), s.longest), start: uint32(Second(now))}
	o.times.start(Second(now))
	o.came.since, o.came.now = Second(now), Second(now)
	return o
}

// HaveLive says that a flow was live when the outlook started.
func (o *Outlook) HaveLive(opened collector.Interval) { o.times.open(opened) }

// HaveCooling says that a port was cooling when the outlook started. Its flow may never have been answered.
func (o *Outlook) HaveCooling(release collector.Time) {
	o.cools.add(releaseSecond(release), 1)
	o.closedBefore(releaseSecond(release))
	o.evidence.unknown = max(o.evidence.unknown, release.Seconds())
}

// Open says that a flow opened, or was found live; opened without From is a flow older than the agent. Close gets the
// same interval.
func (o *Outlook) Open(opened collector.Interval) {
	o.times.open(opened)
	if opened.From == 0 {
		return
	}
	at := opened.To
	if opened.From != opened.To {
		// Steps of the golden ratio fill an interval evenly whatever their number.
		o.spread += 0x9e3779b9
		at = opened.From + collector.Time(float64(opened.To-opened.From)*float64(o.spread)/(1<<32))
	}
	s := Second(at)
	if o.fresh.past(s) {
		o.arrived()
	}
	if !o.fresh.add(s) {
		o.countOpened(s, 1)
	}
}

// countOpened counts n flows that opened in second at. Flows that a restored state knows of are counted already, and
// must not count again: where the kernel stamps its entries, the first dump after a restart tells when they opened.
func (o *Outlook) countOpened(at int64, n uint32) {
	if at < int64(o.resumed) {
		return
	}
	o.opened += float64(n)
	o.came.add(at, n)
	o.rhythm.count(at, n)
}

// arrived takes in the fresh flows.
func (o *Outlook) arrived() {
	for i, n := range o.fresh.take() {
		if n > 0 {
			o.countOpened(o.fresh.first+int64(i), uint32(n))
		}
	}
}

// cooled takes in the freed ports.
func (o *Outlook) cooled() {
	for i, n := range o.freed.take() {
		if n > 0 {
			o.cools.add(o.freed.first+int64(i), uint32(n))
		}
	}
}

// Close says that a flow ended; its port is held until release, which is not after ended.To if there is no cool-down.
func (o *Outlook) Close(opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	o.times.close(opened, ended, o.account.f.edges)
	o.ended[o.account.classOf[reason]]++
	o.endedLately[o.account.classOf[reason]]++
	o.observeEnd(opened, ended, release, reason)
	if release > ended.To {
		s := releaseSecond(release)
		o.knownBefore(Second(ended.To), s)
		if o.freed.past(s) {
			o.cooled()
		}
		if !o.freed.add(s) {
			o.cools.add(s, 1)
		}
	}
}

// Free says that a cooling port was released before its time.
func (o *Outlook) Free(release collector.Time) {
	o.cooled()
	o.cools.remove(releaseSecond(release))
}

// Drop forgets a live flow without an end: no source shows it any more.
func (o *Outlook) Drop(opened collector.Interval) { o.times.drop(opened) }

// Conditions are what the ledger knows besides flows when a forecast is made.
type Conditions struct {
	// Now is the moment up to which everything is known: if only dumps come, the begin of the last complete dump.
	Now collector.Time
	// Held is the number of ports held: fewer than flows if flows share ports; 0 stands for the number of flows.
	Held int
	// Opening is the number of live flows that wait for an answer.
	Opening int
	// Failing: opens failed for lack of ports since the last forecast, or the space is at
	// its effective ceiling. The forecast is then "now".
	Failing bool
	// Ceiling is the effective ceiling of this port space, if it is known to be lower than the budget's; else 0.
	Ceiling int
	// InexactSince is when the ledger lost events that no dump has repaired yet, 0 if none.
	InexactSince collector.Time
	// WarmingUntil is when the last port closed before the agent's start is
	// released, 0 if there can be none.
	WarmingUntil collector.Time
}

// Latest returns the last forecast, nil before the first.
func (o *Outlook) Latest() *detector.Forecast {
	if o.last == 0 {
		return nil
	}
	return &o.forecast
}

// Ticked reports whether the last forecast already covers everything until now.
func (o *Outlook) Ticked(now collector.Time) bool { return o.last >= now.Seconds() }

// AddUnconfirmed adds n to the live flows of which only the first packet is known.
func (o *Outlook) AddUnconfirmed(n int32) { o.unconfirmed += n }

// held returns the number of ports held at the last tick or event.
func (o *Outlook) held() int {
	o.cooled()
	return o.times.ages.count() + int(o.cools.total)
}

// knownBefore takes a port, which is free at release, out of those that the ledger does not know of, if its flow ended
// before the start.
func (o *Outlook) knownBefore(ended, release int64) {
	switch {
	case o.before != nil && ended <= o.before.written:
		o.closedBefore(release)
	case ended < int64(o.start):
		if o.shown == nil {
			w := newReleaseWheel(int64(o.start), o.account.longest)
			o.shown = &w
		}
		o.shown.add(release, 1)
	}
}

// closedBefore takes a port that is free at release out of those that the restored state had: the ledger knows it now.
func (o *Outlook) closedBefore(release int64) {
	if o.before != nil {
		o.before.cools.remove(release)
	}
}

// tick makes one forecast of an outlook.
type tick struct{ *Outlook }
