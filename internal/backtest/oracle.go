package backtest

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// NameOracle and KindOracle are those of the method that knows what nobody can.
const (
	NameOracle = "oracle"
	KindOracle = "oracle"
)

// oracle knows the rate of opens and the law of lifetimes as they are at the moment, from the generator, and which flow
// is how old; it does not know what will become of rate and law, nor when a flow will end. Its probability is the share
// of simulated courses that reach the ceiling: what a forecast can know of a load whose future is not announced.
type oracle struct {
	present  *scenario.Present
	player   *player
	coolDown [collector.NumReasons]float64 // seconds
	random   *rand.Rand
	ticks    int // seen so far
	counts   Counts
	laws     []*law // by lawEvery seconds of opening
	said     Prediction
	// courses: change and opens are by how many ports the fill changes, and how many flows open anew, in each bin.
	change, opens, known []int32
}

// law is a sample of lifetimes, the shortest first, and a few that were drawn in a way that gives the same as long as
// the law is the same.
type law struct {
	sample []lifetime
	probe  [lawProbe]lifetime
	// few are evenly spaced of the sample, so few that the processor's cache has room for them.
	few []lifetime
}

type lifetime struct {
	life, cooling float32 // seconds
	again         float32 // seconds after its end that it is tried again, 0 if never
}

const (
	lawEvery = 5 // seconds for which a law stands
	// lawStep lifetimes are drawn each time, until there are lawMost of a law that has not changed: heavy tails take many.
	lawStep, lawMost = 8192, 1 << 18
	lawProbe         = 32
	lawFew           = lawStep
	// lawKept laws are kept of the last minutes; of those before, one in lawThinned.
	lawKept, lawThinned = 180, 12
	// lawLeast lifetimes beyond the age of a flow tell how long it lives; where there are fewer, a Pareto tail does.
	lawLeast, lawTail = 8, 1.3

	// A bin is as long as the ticks at which it is seen whether the ceiling is reached.
	binsPerSecond = 1
	// The next five minutes are simulated every 15 s by so many courses, the next hour every two minutes.
	soonEvery, soonCourses, soonSeconds = 15, 64, 300
	farEvery, farCourses, farSeconds    = 120, 32, 3600
	oracleSeed                          = 1
)

func newOracle(p *scenario.Present, player *player, t *budget.Terms) *oracle {
	const bins = farSeconds * binsPerSecond
	o := &oracle{
		present: p, player: player, random: rand.New(rand.NewPCG(oracleSeed, 0)),
		change: make([]int32, bins), opens: make([]int32, bins), known: make([]int32, bins),
	}
	for reason, d := range t.CoolDown {
		o.coolDown[reason] = d.Seconds()
	}
	return o
}

func (o *oracle) Name() string { return NameOracle }

// Observe is called at each tick, which is a second.
func (o *oracle) Observe(c *Counts) {
	o.counts = *c
	if o.ticks%lawEvery == 0 {
		o.learn()
	}
	switch {
	case o.ticks%farEvery == 0:
		o.simulate(farCourses, farSeconds)
	case o.ticks%soonEvery == 0:
		o.simulate(soonCourses, soonSeconds)
	}
	o.ticks++
}

// Predict tells what the last simulation gave. It has no mean: a course ends where it reaches the ceiling.
func (o *oracle) Predict(p *Prediction) {
	*p = o.said
	if o.counts.Held >= o.counts.Ceiling {
		p.Score = [horizons]float64{1, 1, 1, 1}
	}
	for h := range horizons {
		p.Mean[h], p.Variance[h] = math.NaN(), math.NaN()
	}
}

// learn draws from the present law.
func (o *oracle) learn() {
	same := rand.New(rand.NewPCG(oracleSeed, 1))
	l := &law{}
	for i := range l.probe {
		l.probe[i] = o.draw(same)
	}
	if n := len(o.laws); n > 0 && o.laws[n-1].probe == l.probe {
		l = o.laws[n-1]
	}
	if len(l.sample) < lawMost {
		for range lawStep {
			l.sample = append(l.sample, o.draw(o.random))
		}
		slices.SortFunc(l.sample, func(a, b lifetime) int { return cmp.Compare(a.life, b.life) })
		l.few = l.few[:0]
		for i := range lawFew {
			l.few = append(l.few, l.sample[(2*i+1)*len(l.sample)/(2*lawFew)])
		}
	}
	o.laws = append(o.laws, l)
	if old := len(o.laws) - lawKept; old > 0 && old%lawThinned != 0 {
		o.laws[old] = nil
	}
}

func (o *oracle) draw(r *rand.Rand) lifetime {
	life, reason, again := o.present.Life(r)
	return lifetime{float32(life), float32(o.coolDown[reason]), float32(again)}
}

// lawOf returns the law under which flows of that age opened.
func (o *oracle) lawOf(age float64) *law {
	i := min(max(0, len(o.laws)-1-int(age/lawEvery)), len(o.laws)-1)
	for o.laws[i] == nil {
		i--
	}
	return o.laws[i]
}

// older draws how long a flow of that age has still to live.
func (o *oracle) older(l *law, age float64) (left float64, how *lifetime) {
	n := len(l.sample)
	i, _ := slices.BinarySearchFunc(l.sample, float32(age),
		func(x lifetime, age float32) int { return cmp.Compare(x.life, age) })
	if n-i < lawLeast {
		return age * (math.Pow(1-o.random.Float64(), -1/lawTail) - 1), &l.sample[n-1]
	}
	how = &l.sample[i+o.random.IntN(n-i)]
	return float64(how.life) - age, how
}

// simulate makes so many courses of the next seconds.
func (o *oracle) simulate(courses int, seconds float64) {
	bins := int(seconds * binsPerSecond)
	now := o.player.now
	known := o.known[:bins]
	clear(known)
	for _, c := range o.player.cooling {
		for _, r := range c.ports[c.next:] {
			if b := int(r.at.Sub(now).Seconds() * binsPerSecond); b < bins {
				known[max(b, 0)]--
			}
		}
	}
	reached := [horizons]int{}
	for range courses {
		at := o.course(bins)
		for h, ahead := range horizonSeconds() {
			if at < int(ahead*binsPerSecond) {
				reached[h]++
			}
		}
	}
	for h, ahead := range horizonSeconds() {
		p := float64(reached[h]) / float64(courses)
		if ahead > seconds { // as it was said last, and no less than the horizons before
			p = max(o.said.Score[h], o.said.Score[h-1])
		}
		o.said.Score[h] = p
	}
}

func horizonSeconds() [horizons]float64 { return [horizons]float64{60, 300, 900, 3600} }

// course returns the bin in which a course reaches the ceiling, or bins.
func (o *oracle) course(bins int) int {
	change, opens := o.change[:bins], o.opens[:bins]
	copy(change, o.known)
	clear(opens)
	end := func(at float64, how *lifetime) (bin int) {
		if how.again > 0 {
			if b := int((at + float64(how.again)) * binsPerSecond); b < bins {
				opens[b]++
			}
		}
		bin = int((at + float64(how.cooling)) * binsPerSecond)
		if bin < bins {
			change[bin]--
		}
		return bin
	}
	for i := range o.player.ends {
		age := o.player.now.Sub(o.player.ends[i].flow.Start).Seconds()
		end(o.older(o.lawOf(age), age))
	}
	held, ceiling := int32(o.counts.Held), int32(o.counts.Ceiling)
	lives, rate := o.laws[len(o.laws)-1].few, o.present.Rate()
	next := math.Inf(1)
	if rate > 0 {
		next = o.random.ExpFloat64() / rate
	}
	for b := range bins {
		until := float64(b+1) / binsPerSecond
		n := opens[b]
		for ; next < until; next += o.random.ExpFloat64() / rate {
			n++
		}
		held += change[b]
		for range n {
			how := &lives[o.random.IntN(len(lives))]
			if end(until-0.5/binsPerSecond+float64(how.life), how) != b {
				held++
			}
		}
		if held >= ceiling {
			return b
		}
	}
	return bins
}

// oracleTable compares the forecast with the oracle, by scenario.
func (s *Summary) oracleTable() *table {
	t := &table{title: fmt.Sprintf("Average precision of the forecast / of an oracle that knows the present rate and "+
		"law of lifetimes (judged every %d s)", soonEvery)}
	t.row("", "episodes", "60 s", "5 min", "15 min", "60 min")
	row := func(name, episodes string, ap func(method string) [horizons]Number) {
		ours, best := ap(NameForecast), ap(NameOracle)
		cells := []string{name, episodes}
		for h := range horizons {
			cells = append(cells, figure(float64(ours[h]), 2)+" / "+figure(float64(best[h]),
				2)+" = "+figure(float64(ours[h]/best[h]), 2))
		}
		t.row(cells...)
	}
	for _, g := range s.Groups {
		if g.Episodes > 0 {
			row(g.Name, strconv.Itoa(g.Episodes), func(method string) [horizons]Number { return g.AP[method] })
		}
	}
	row("mean", strconv.Itoa(s.Episodes), func(method string) [horizons]Number { return s.method(method).AP })
	skill := []string{"Brier skill", ""}
	for h := range horizons {
		skill = append(skill, figure(float64(s.method(NameForecast).Skill[h]), 2)+" / "+figure(float64(s.method(NameOracle).
			Skill[h]), 2))
	}
	t.row(skill...)
	return t
}

// oraclePageTable says what a page on the oracle would do.
func (s *Summary) oraclePageTable() *table {
	t := &table{title: "The page as shipped, on the forecast / on the oracle"}
	t.row("", "cool-down", "episodes", "detected", "lead s", "false/day")
	for _, c := range s.Cells {
		p, q := &c.Page, &c.Ideal
		pair := func(x, y Number, decimals int) string {
			return figure(float64(x), decimals) + " / " + figure(float64(y), decimals)
		}
		t.row(c.Group+" "+c.Member, exact(float64(c.CoolDown))+" s", strconv.Itoa(p.Episodes),
			pair(p.Detected, q.Detected, 2), pair(p.Lead, q.Lead, 0), pair(p.FalsePerDay, q.FalsePerDay, 1))
	}
	return t
}
