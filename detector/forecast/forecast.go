// Package forecast says how many ports a busy port space will hold, how likely they run out, and when: from hold
// times, arrivals, what recurs, and how wrong its own forecasts were. It also says when what is seen cannot be
// under the configured budget.
package forecast

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// forecaster holds what all forecasts of one ledger share: the agent-wide
// hold times that young budgets borrow from, and room to compute in.
type Forecaster struct {
	edges *ageEdges
	// all sums the hold times of every budget, as of second since.
	all   occurrence
	since float64
	work  workspace
	// factory is what the tails and the calibration start from.
	factory     kindTails
	common      kindShares
	calibration [detector.NumHorizons]calibration
	// scores are the errors that the factory expects of each component, power is how much they tell.
	scores [detector.NumHorizons][components]float32
	power  [detector.NumHorizons][2]float64
	// Judged, when set, is told of each forecast once it is known what came.
	Judged func(Judged)
	// without turns parts of the method off, for the ablation table alone.
	without Part
	// stocks in the order they were made, so that the same input gives the same bytes.
	accounts []*Account
	// saved is what a state tells of port spaces not yet met.
	saved map[SpaceName]*saved
}

func NewForecaster(without Part) *Forecaster {
	f := &Forecaster{edges: newAgeEdges(), without: without, calibration: factoryCalibration(), scores: factoryScores(), power: scorePower()}
	f.factory, f.common = factoryTails()
	f.work.edges, f.work.curve.edges = f.edges, f.edges
	f.work.grid, f.work.horizon = aheadGrid(), horizonAt()
	f.work.taus = hazardTaus()
	f.work.bins = newTailEdges()
	f.work.worth = tailWorth()
	f.work.bursts = make([]expected, 0, burstsMost)
	return f
}

// stock is one protocol of a budget: the hold times that its young port spaces
// borrow from, and what is left of its past forecasts.
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
	// ended counts closes by class, decayed.
	ended [coolClasses]float64
	last  float64 // second of the last tick, 0 before the first

	pool    poolTrend
	terms   budget.Terms    // as of the last setTerms
	ports   float64         // nominal budget now
	ceiling float64         // effective ceiling now
	next    float64         // and beyond the edge of its table
	crossed [aheads]float64 // probability that the pool has crossed that edge by then

	contradiction contradiction
	samples       []*sample
	// brier sums the squared errors of judged probabilities, judged counts them; both decay.
	brier, judged [detector.NumHorizons]float64
}

// stock makes the state of protocol p of budget b.
func (f *Forecaster) Account(b *budget.Budget, p collector.Protocol, now collector.Time) *Account {
	s := &Account{f: f, name: b.Name, protocol: p}
	s.setTerms(b.Terms(p))
	s.times.start(Second(now))
	f.accounts = append(f.accounts, s)
	return s
}

// setTerms takes the cool-downs of t; past closes keep their class. A verdict is on the terms before.
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

// clear forgets which stocks there are; stock and keep name them anew.
func (f *Forecaster) Clear() { f.accounts = nil }

// keep goes on with s under terms t.
func (f *Forecaster) Keep(s *Account, t *budget.Terms) {
	s.setTerms(t)
	f.accounts = append(f.accounts, s)
}

// dropped tells the stock of a live flow that is lost sight of.
func (s *Account) Dropped(opened collector.Interval) { s.times.drop(opened) }

// opened tells the stock of a flow of any of its port spaces. The same interval comes
// back when it closes. An interval without From is a flow older than the agent.
func (s *Account) Opened(opened collector.Interval) { s.times.open(opened) }

// closed tells the stock of a flow's end.
func (s *Account) Closed(opened, ended collector.Interval, reason collector.Reason) {
	s.times.close(opened, ended, s.f.edges)
	s.ended[s.classOf[reason]]++
}

// outlook is the forecast of one busy port space.
type Outlook struct {
	// What each flow that opens or ends changes comes first, in few lines of the processor's cache.
	account *Account
	// fresh counts flows by when they opened, freed ports by when they are released: came, rhythm and
	// cools are told of many at once, at the next tick at the latest.
	fresh, freed fewSeconds
	ended        [coolClasses]float32
	// endedLately counts them over seconds, to see a change of how flows end.
	endedLately [coolClasses]float32
	// spread counts flows whose open is known only to an interval, to spread
	// them evenly over it.
	spread uint32
	// untold counts live flows that may have an answer or may wait for one.
	unconfirmed int32
	evidence    evidence
	times       lifetimes
	speeds      [numSpeeds]occurrence
	cools       releaseWheel
	came        arrivals
	rhythm      rhythm
	// opened counts arrivals; openedBefore is its value at the last tick, lastOpened and lastSeconds are
	// the arrivals of that tick and how long it took.
	opened, openedBefore    float64
	lastOpened, lastSeconds float64
	began, last             float64 // seconds of the first and the last tick
	dispersion              float64 // variance of arrivals in their mean, at least 1
	rateMean, fillMean      float64 // over half a day
	fillLately              float64 // over so long that it and a port's hold make noiseless
	changed                 float64 // how surely lifetimes have just changed, from 0 to 1
	// error is by how much the fill leaves the 15 s forecast, in ports per second;
	// fifteen are the forecasts it is judged by.
	error   float64
	fifteen [16]struct {
		due  uint32 // second: it is 2106 before they are too many
		fill float32
	}
	again reopened
	// before is what a state tells of ports that were cooling, nil where it does not.
	before   *earlier
	learnt   [detector.NumHorizons]learnt
	rate     float64 // arrivals per second, as of the last tick
	forecast detector.Forecast
}

// outlook starts the forecast of a port space at now. The ledger then tells of what the
// space holds already with haveLive and haveCooling.
func (s *Account) Outlook(now collector.Time) *Outlook {
	o := &Outlook{account: s, cools: newReleaseWheel(Second(now), s.longest)}
	o.times.start(Second(now))
	o.came.since, o.came.now = Second(now), Second(now)
	return o
}

// haveLive tells of a flow that was live when the outlook started.
func (o *Outlook) HaveLive(opened collector.Interval) { o.times.open(opened) }

// haveCooling tells of a port that was cooling when the outlook started. Its flow may have been one that
// was never answered.
func (o *Outlook) HaveCooling(release collector.Time) {
	o.cools.add(releaseSecond(release), 1)
	o.closedBefore(releaseSecond(release))
	o.evidence.unknown = max(o.evidence.unknown, release.Seconds())
}

// open tells of a flow that opened, or that was found live: opened without From is
// one older than the agent. The same interval comes back in close.
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

// countOpened counts n flows that opened in second at.
func (o *Outlook) countOpened(at int64, n uint32) {
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

// close tells of a flow that ended; its port is held until release, which is not after
// ended.To where there is no cool-down.
func (o *Outlook) Close(opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	o.times.close(opened, ended, o.account.f.edges)
	o.ended[o.account.classOf[reason]]++
	o.endedLately[o.account.classOf[reason]]++
	o.observeEnd(opened, ended, release, reason)
	if release > ended.To {
		s := releaseSecond(release)
		if o.before != nil && Second(ended.To) <= o.before.written {
			o.closedBefore(s)
		}
		if o.freed.past(s) {
			o.cooled()
		}
		if !o.freed.add(s) {
			o.cools.add(s, 1)
		}
	}
}

// free tells that a cooling port was released before its time.
func (o *Outlook) Free(release collector.Time) {
	o.cooled()
	o.cools.remove(releaseSecond(release))
}

// drop forgets a live flow without an end: the ledger lost sight of it.
func (o *Outlook) Drop(opened collector.Interval) { o.times.drop(opened) }

// conditions are what the ledger knows besides the flows when a forecast is made.
type Conditions struct {
	// Now is the moment up to which everything was seen: in poll mode the last dump's.
	Now collector.Time
	// Held is the number of ports held: fewer than flows where these may share a port.
	// 0 stands for the number of flows.
	Held int
	// Opening is the number of live flows that wait for an answer.
	Opening int
	// Failing: opens failed for lack of ports since the last forecast, or the space is at
	// its effective ceiling. The forecast is then "now".
	Failing bool
	// InexactSince is when the ledger lost events that no dump has repaired yet, 0 if none.
	InexactSince collector.Time
	// WarmingUntil is when the last port closed before the agent's start is
	// released, 0 if there can be none.
	WarmingUntil collector.Time
}

// latest is the last forecast, nil before the first.
func (o *Outlook) Latest() *detector.Forecast {
	if o.last == 0 {
		return nil
	}
	return &o.forecast
}

// ticked reports whether the last forecast knows of all until now.
func (o *Outlook) Ticked(now collector.Time) bool { return o.last >= now.Seconds() }

// addUntold adds n to the live flows that may have an answer or may wait for one.
func (o *Outlook) AddUnconfirmed(n int32) { o.unconfirmed += n }

// live is the number of live flows; of untold only the first packet is known.
func (o *Outlook) Live() (live, untold int) { return o.times.ages.count(), int(o.unconfirmed) }

// held is the number of ports held at the last tick or event.
func (o *Outlook) held() int {
	o.cooled()
	return o.times.ages.count() + int(o.cools.total)
}

// closedBefore takes a port that the ledger has come to know, and that is free at release, out of those of the state.
func (o *Outlook) closedBefore(release int64) {
	if o.before != nil {
		o.before.cools.remove(release)
	}
}

// tick makes one forecast of an outlook.
type tick struct{ *Outlook }
