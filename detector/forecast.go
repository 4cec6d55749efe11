package detector

import (
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// forecaster holds what all forecasts of one ledger share: the agent-wide
// hold times that young budgets borrow from, and room to compute in.
type forecaster struct {
	edges *ageEdges
	// all sums the hold times of every budget.
	all occurrence
	// stocks in the order they were made, so that the same input gives the same bytes.
	stocks []*stock
}

func newForecaster() *forecaster {
	return &forecaster{edges: newAgeEdges()}
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
	// ended counts closes by class, decayed.
	ended [coolClasses]float64
}

// coolClasses is how many distinct cool-downs a budget may have; the shortest are
// put together beyond that.
const coolClasses = 4

// stock makes the state of protocol p of budget b.
func (f *forecaster) stock(b *Budget, p collector.Protocol, now collector.Time) *stock {
	s := &stock{f: f, name: b.Name, protocol: p}
	s.setTerms(b.Terms(p))
	s.times.start(second(now))
	f.stocks = append(f.stocks, s)
	return s
}

// setTerms takes the cool-downs of t; past closes keep their class.
func (s *stock) setTerms(t *Terms) {
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

// reopened takes closed back: the flow that was thought idle lives.
func (s *stock) reopened(opened collector.Interval) { s.times.open(opened) }

// outlook is the forecast of one busy port space.
type outlook struct {
	stock *stock
	times lifetimes
	cools releaseWheel
	came  arrivals
	// spread counts flows whose open is known only to an interval, to spread
	// them evenly over it.
	spread uint32
	ended  [coolClasses]float32
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

// haveCooling tells of a port that was cooling when the outlook started.
func (o *outlook) haveCooling(release collector.Time) { o.cools.add(releaseSecond(release)) }

// open tells of a flow that opened, or that was found live: opened without From is
// one older than the agent. The same interval comes back in close.
func (o *outlook) open(opened collector.Interval) {
	o.times.open(opened)
	if opened.From == 0 && opened.To != 0 {
		return
	}
	at := opened.To
	if opened.From != opened.To {
		// Steps of the golden ratio fill an interval evenly whatever their number.
		o.spread += 0x9e3779b9
		at = opened.From + collector.Time(float64(opened.To-opened.From)*float64(o.spread)/(1<<32))
	}
	o.came.add(second(at))
}

// close tells of a flow that ended; its port is held until release, which is not after
// ended.To where there is no cool-down.
func (o *outlook) close(opened, ended collector.Interval, release collector.Time, reason collector.Reason) {
	o.times.close(opened, ended, o.stock.f.edges)
	o.ended[o.stock.classOf[reason]]++
	if release > ended.To {
		o.cools.add(releaseSecond(release))
	}
}

// free tells that a cooling port was released before its time.
func (o *outlook) free(release collector.Time) { o.cools.remove(releaseSecond(release)) }

// reopen takes close back: the flow lives after all.
func (o *outlook) reopen(opened collector.Interval, release collector.Time) {
	o.free(release)
	o.times.open(opened)
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
	// Failing: opens failed for lack of ports since the last forecast, or the space is at
	// its effective ceiling. The forecast is then "now".
	Failing bool
	// InexactSince is when the ledger lost events that no dump has repaired yet, 0 if none.
	InexactSince collector.Time
	// WarmingUntil is when the last port closed before the agent's start is
	// released, 0 if there can be none.
	WarmingUntil collector.Time
}

// tick brings the stock to now, before the outlooks of its port spaces; b is its
// budget as it stands, so that a pool on the move is seen.
func (s *stock) tick(now collector.Time, b *Budget) {
	s.times.ages.advance(second(now))
}

// tick makes the forecast. Call it once a second while the space is fuller than a tenth of
// its ceiling, and every five seconds otherwise.
func (o *outlook) tick(c conditions) {
	o.times.ages.advance(second(c.Now))
	o.cools.advance(second(c.Now))
	o.came.advance(second(c.Now))
}

// held is the number of ports held at the last tick or event.
func (o *outlook) held() int { return o.times.ages.count() + int(o.cools.total) }
