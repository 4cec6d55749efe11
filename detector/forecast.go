package detector

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// forecaster holds what all forecasts of one ledger share: the agent-wide
// hold times that young budgets borrow from, and room to compute in.
type forecaster struct {
	edges *ageEdges
	// all sums the hold times of every budget, as of second since.
	all   occurrence
	since float64
	work  workspace
	// factory is what the tails and the calibration start from.
	factory     [NumHorizons]tail
	calibration [NumHorizons]calibration
	// scores are the errors that the factory expects of each component, power is how much they tell.
	scores [NumHorizons][components]float32
	power  [NumHorizons][2]float64
	// without turns parts of the method off, for the ablation table alone.
	without Part
	// stocks in the order they were made, so that the same input gives the same bytes.
	stocks []*stock
}

func newForecaster(without Part) *forecaster {
	f := &forecaster{edges: newAgeEdges(), without: without, factory: factoryTails(), calibration: factoryCalibration(), scores: factoryScores(), power: scorePower()}
	f.work.edges, f.work.curve.edges = f.edges, f.edges
	f.work.grid, f.work.horizon = aheadGrid(), horizonAt()
	f.work.taus = hazardTaus()
	f.work.worth = tailWorth()
	f.work.bursts = make([]expected, 0, burstsMost)
	return f
}

// stock is one protocol of a budget: the hold times that its young port spaces
// borrow from, and what is left of its past forecasts.
type stock struct {
	f        *forecaster
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

	verdict   contradiction
	witnesses []*witness
	// brier sums the squared errors of judged probabilities, judged counts them; both decay.
	brier, judged [NumHorizons]float64
}

// coolClasses is how many distinct cool-downs a budget may have; the shortest are
// put together beyond that.
const coolClasses = 4

// stock makes the state of protocol p of budget b.
func (f *forecaster) stock(b *budget.Budget, p collector.Protocol, now collector.Time) *stock {
	s := &stock{f: f, name: b.Name, protocol: p}
	s.setTerms(b.Terms(p))
	s.times.start(second(now))
	f.stocks = append(f.stocks, s)
	return s
}

// setTerms takes the cool-downs of t; past closes keep their class. A verdict is on the terms before.
func (s *stock) setTerms(t *budget.Terms) {
	if s.terms != *t {
		s.dismiss()
		s.terms, s.verdict = *t, contradiction{}
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

// opened tells the stock of a flow of any of its port spaces. The same interval comes
// back when it closes. An interval without From is a flow older than the agent.
func (s *stock) opened(opened collector.Interval) { s.times.open(opened) }

// closed tells the stock of a flow's end.
func (s *stock) closed(opened, ended collector.Interval, reason collector.Reason) {
	s.times.close(opened, ended, s.f.edges)
	s.ended[s.classOf[reason]]++
}

// outlook is the forecast of one busy port space.
type outlook struct {
	// What each flow that opens or ends changes comes first, in few lines of the processor's cache.
	stock *stock
	// fresh counts flows by when they opened, freed ports by when they are released: came, rhythm and
	// cools are told of many at once, at the next tick at the latest.
	fresh, freed fewSeconds
	ended        [coolClasses]float32
	// spread counts flows whose open is known only to an interval, to spread
	// them evenly over it.
	spread uint32
	// untold counts live flows that may have an answer or may wait for one.
	untold   int32
	evidence evidence
	times    lifetimes
	speeds   [numSpeeds]occurrence
	cools    releaseWheel
	came     arrivals
	rhythm   rhythm
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
		due  int64
		fill float32
	}
	learnt   [NumHorizons]learnt
	rate     float64 // arrivals per second, as of the last tick
	forecast Forecast
}

// outlook starts the forecast of a port space at now. The ledger then tells of what the
// space holds already with haveLive and haveCooling.
func (s *stock) outlook(now collector.Time) *outlook {
	o := &outlook{stock: s, cools: newReleaseWheel(second(now), s.longest)}
	o.times.start(second(now))
	o.came.since, o.came.now = second(now), second(now)
	return o
}

// haveLive tells of a flow that was live when the outlook started.
func (o *outlook) haveLive(opened collector.Interval) { o.times.open(opened) }

// haveCooling tells of a port that was cooling when the outlook started. Its flow may have been one that
// was never answered.
func (o *outlook) haveCooling(release collector.Time) {
	o.cools.add(releaseSecond(release), 1)
	o.evidence.unknown = max(o.evidence.unknown, release.Seconds())
}

// open tells of a flow that opened, or that was found live: opened without From is
// one older than the agent. The same interval comes back in close.
func (o *outlook) open(opened collector.Interval) {
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
	s := second(at)
	if o.fresh.past(s) {
		o.arrived()
	}
	if !o.fresh.add(s) {
		o.countOpened(s, 1)
	}
}

// countOpened counts n flows that opened in second at.
func (o *outlook) countOpened(at int64, n uint32) {
	o.opened += float64(n)
	o.came.add(at, n)
	o.rhythm.count(at, n)
}

// arrived takes in the fresh flows.
func (o *outlook) arrived() {
	for i, n := range o.fresh.take() {
		if n > 0 {
			o.countOpened(o.fresh.first+int64(i), uint32(n))
		}
	}
}

// cooled takes in the freed ports.
func (o *outlook) cooled() {
	for i, n := range o.freed.take() {
		if n > 0 {
			o.cools.add(o.freed.first+int64(i), uint32(n))
		}
	}
}

// close tells of a flow that ended; its port is held until release, which is not after
// ended.To where there is no cool-down.
func (o *outlook) close(opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	o.times.close(opened, ended, o.stock.f.edges)
	o.ended[o.stock.classOf[reason]]++
	o.testify(opened, ended, release, reason)
	if release > ended.To {
		s := releaseSecond(release)
		if o.freed.past(s) {
			o.cooled()
		}
		if !o.freed.add(s) {
			o.cools.add(s, 1)
		}
	}
}

// free tells that a cooling port was released before its time.
func (o *outlook) free(release collector.Time) {
	o.cooled()
	o.cools.remove(releaseSecond(release))
}

// drop forgets a live flow without an end: the ledger lost sight of it.
func (o *outlook) drop(opened collector.Interval) { o.times.drop(opened) }

// second is the second that t lies in.
func second(t collector.Time) int64 { return int64(t) / int64(time.Second) }

// releaseSecond is the first whole second at which a port due at t is free.
func releaseSecond(t collector.Time) int64 {
	return (int64(t) + int64(time.Second) - 1) / int64(time.Second)
}

// conditions are what the ledger knows besides the flows when a forecast is made.
type conditions struct {
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

// held is the number of ports held at the last tick or event.
func (o *outlook) held() int {
	o.cooled()
	return o.times.ages.count() + int(o.cools.total)
}
