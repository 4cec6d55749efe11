package backtest

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// NameOracle and KindOracle are name and kind of the method that knows what nobody can.
const (
	NameOracle = "oracle"
	KindOracle = "oracle"
)

// oracle knows the rate of opens and the law of lifetimes as they are at the moment, from the generator, and which flow
// is how old; it does not know what will become of rate and law, nor when a flow will end. Its probability is the share
// of simulated courses that reach the ceiling: what a forecast can know of a load whose future is not announced.
//
// What the flows to come will hold depends on rate and law alone. So courses of those are made once for a law and a
// rate, and used for as long as these stay; at each moment only what is held already is drawn anew.
type oracle struct {
	present  *scenario.Present
	player   *player
	coolDown [collector.NumReasons]float64 // seconds
	random   *rand.Rand
	ticks    int // seen so far
	counts   Counts
	laws     []*law // by lawEvery seconds of opening
	distinct []*law // the last of them, each once
	said     Prediction
	// base is by how much the fill is above the ceiling in each bin, if nothing came that is not known and no flow ended;
	// change is what one course adds to that, by which it differs from the bin before.
	base   []float32
	change []int32
	// most is the most that each course is above the ceiling until each horizon.
	most [horizons][courses]float64
}

// law is a sample of lifetimes, the shortest first, and a few that were drawn in a way that gives the same as long as
// the law is the same.
type law struct {
	sample []lifetime
	probe  [lawProbe]lifetime
	// few are evenly spaced of the sample, so few that the processor's cache has room for them.
	few   []lifetime
	pools []*pool
}

// pool is courses of what the flows to come hold, in the bins after a moment: those that open at a rate.
type pool struct {
	rate float64
	bins int
	held []int16   // by course and bin
	mean []float32 // by bin
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
	// lawKept laws are kept of the last minutes; of those before, one in lawThinned. Of distinct ones the last
	// lawDistinct are known again.
	lawKept, lawThinned, lawDistinct = 180, 12, 4
	// lawLeast lifetimes beyond the age of a flow tell how long it lives; where there are fewer, a Pareto tail does.
	lawLeast, lawTail = 8, 1.3

	// courses is how many are simulated each time.
	courses = 256
	// The next quarter of an hour is simulated every 15 s, the next hour every two minutes. A bin is a second, as a tick.
	soonEvery, soonBins = 15, 900
	farEvery, farBins   = 120, 3600
	// rateNear is how much the logarithm of the rate may differ from the logarithm of a pool's rate, whose mean and spread
	// are then scaled. poolsMost is how many pools a law keeps.
	rateNear, poolsMost = 0.1, 24
	oracleSeed          = 1
)

func newOracle(p *scenario.Present, player *player, t *budget.Terms) *oracle {
	o := &oracle{
		present: p, player: player, random: rand.New(rand.NewPCG(oracleSeed, 0)),
		base: make([]float32, farBins), change: make([]int32, farBins),
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
		o.simulate(farBins)
	case o.ticks%soonEvery == 0:
		o.simulate(soonBins)
	}
	o.ticks++
}

// Predict tells what the last simulation gave. It has no mean: a course is followed by its highest fill.
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
	if i := slices.IndexFunc(o.distinct, func(x *law) bool { return x.probe == l.probe }); i >= 0 {
		l = o.distinct[i]
	} else {
		if len(o.distinct) == lawDistinct {
			o.distinct[0].pools = nil
			o.distinct = o.distinct[1:]
		}
		o.distinct = append(o.distinct, l)
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

// alive is a flow that has not ended: it is older than the first lifetimes of the sample that it opened under.
type alive struct {
	age    float64
	longer []lifetime
}

// alive lists the flows that have not ended.
func (o *oracle) alive() []alive {
	all := make([]alive, len(o.player.ends))
	for i := range all {
		age := o.player.now.Sub(o.player.ends[i].flow.Start).Seconds()
		sample := o.lawOf(age).sample
		n, _ := slices.BinarySearchFunc(sample, float32(age),
			func(x lifetime, age float32) int { return cmp.Compare(x.life, age) })
		all[i] = alive{age, sample[min(n, len(sample)-1):]}
	}
	return all
}

// left draws how long a flow has still to live.
func (o *oracle) left(a *alive) (left float64, how *lifetime) {
	n := len(a.longer)
	if n < lawLeast {
		return a.age * (math.Pow(1-o.random.Float64(), -1/lawTail) - 1), &a.longer[n-1]
	}
	how = &a.longer[o.random.IntN(n)]
	return float64(how.life) - a.age, how
}

// simulate makes courses of the next bins.
func (o *oracle) simulate(bins int) {
	l := o.laws[len(o.laws)-1]
	rate := o.present.Rate()
	p := o.pool(l, rate, bins)
	more, wide := p.scale(rate)
	base := o.base[:bins]
	clear(base)
	for _, c := range o.player.cooling {
		for _, r := range c.ports[c.next:] {
			if b := int(r.at.Sub(o.player.now).Seconds()); b < bins {
				base[max(b, 0)]--
			}
		}
	}
	above := float32(o.counts.Held - o.counts.Ceiling)
	for b := range base {
		above += base[b]
		base[b] = above + float32(more-wide)*p.mean[b]
	}
	alive := o.alive()
	change := o.change[:bins]
	for n := range courses {
		clear(change)
		for i := range alive {
			left, how := o.left(&alive[i])
			o.end(change, left, how, l)
		}
		o.follow(n, base, change, p.held[n*bins:(n+1)*bins], float32(wide))
	}
	for h, ahead := range horizonSeconds() {
		if int(ahead) <= bins {
			o.said.Score[h] = reached(o.most[h][:])
		} else { // as it was said last, and no less than the horizons before
			o.said.Score[h] = max(o.said.Score[h], o.said.Score[h-1])
		}
	}
}

// follow finds how high course n comes until each horizon: come is what flows to come hold in it.
func (o *oracle) follow(n int, base []float32, change []int32, come []int16, wide float32) {
	most, gone, from := float32(math.Inf(-1)), int32(0), 0
	for h, ahead := range horizonSeconds() {
		to := min(int(ahead), len(base))
		change, come := change[from:to], come[from:to]
		for b, x := range base[from:to] {
			gone += change[b]
			if x += float32(gone) + wide*float32(come[b]); x > most {
				most = x
			}
		}
		o.most[h][n], from = float64(most), to
	}
}

// end has a flow of law l end after so many seconds in a course, and open again if it is tried again.
func (o *oracle) end(change []int32, at float64, how *lifetime, l *law) {
	for {
		if b := int(at + float64(how.cooling)); b < len(change) {
			change[b]--
		}
		at += float64(how.again)
		if how.again == 0 || int(at) >= len(change) {
			return
		}
		change[int(at)]++
		how = &l.few[o.random.IntN(len(l.few))]
		at += float64(how.life)
	}
}

// pool returns one of law l for about that rate and at least so many bins.
func (o *oracle) pool(l *law, rate float64, bins int) *pool {
	for _, p := range l.pools {
		if p.bins == bins && (p.rate == rate || math.Abs(math.Log(rate/p.rate)) <= rateNear) {
			return p
		}
	}
	p := &pool{rate: rate, bins: bins, held: make([]int16, courses*bins), mean: make([]float32, bins)}
	change := o.change[:bins]
	for n := range courses {
		clear(change)
		for at := o.random.ExpFloat64() / rate; at < float64(bins); at += o.random.ExpFloat64() / rate {
			change[int(at)]++
			how := &l.few[o.random.IntN(len(l.few))]
			o.end(change, at+float64(how.life), how, l)
		}
		held := int32(0)
		for b, x := range change {
			held += x
			p.held[n*bins+b] = int16(min(held, math.MaxInt16))
			p.mean[b] += float32(held) / courses
		}
	}
	if len(l.pools) == poolsMost {
		l.pools = l.pools[1:]
	}
	l.pools = append(l.pools, p)
	return p
}

// scale returns by what to multiply mean and spread of a pool for a rate that is a little another one.
func (p *pool) scale(rate float64) (mean, spread float64) {
	if p.rate == 0 {
		return 1, 1
	}
	return rate / p.rate, math.Sqrt(rate / p.rate)
}

func horizonSeconds() [horizons]float64 { return [horizons]float64{60, 300, 900, 3600} }

// reached returns how likely a course reaches the ceiling, given the most that each is above it. Where they differ by
// ports enough, the share of those that do is smoothed, or half of all moments would have the same: each stands for a
// normal distribution, and all are drawn together so that mean and spread stay. Where they differ by few, whole ports
// matter, and the smooth share only tells equal shares apart.
func reached(most []float64) float64 {
	n, mean, square, share := float64(len(most)), 0.0, 0.0, 0.0
	for _, x := range most {
		mean += x / n
		if x > -0.5 {
			share += 1 / n
		}
	}
	for _, x := range most {
		square += (x - mean) * (x - mean) / n
	}
	sd := math.Sqrt(square)
	if sd == 0 {
		return share
	}
	const half = 0.5 // of a port: fills are whole
	width := 1.06 * math.Pow(n, -0.2)
	drawn := 1 / math.Sqrt(1+width*width)
	smooth := 0.0
	for _, x := range most {
		smooth += math.Erfc(-(mean+(x-mean)*drawn+half)/(width*drawn*sd)/math.Sqrt2) / 2 / n
	}
	const rough = 4 // ports
	if sd < rough {
		return (n*share + smooth) / (n + 1)
	}
	return smooth
}
