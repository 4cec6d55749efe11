package forecast

import (
	"math"

	"github.com/snatwatch/snatwatch/detector"
)

// tailBins bins hold standardised residuals from -tailReach to +tailReach, evenly in asinh.
const (
	tailBins  = 64
	tailReach = 50
)

// spreadMost is the square of tailReach.
const spreadMost = tailReach * tailReach

// tail is what the forecast learns of its own errors: a histogram of how far the highest fill came to lie above the one
// forecast, in standard deviations.
type tail [tailBins]float32

// tailPosition returns the position of residual r among the bins.
func tailPosition(r float64) float64 {
	return (math.Asinh(r)/math.Asinh(tailReach) + 1) * tailBins / 2
}

// TailBins is how many bins a tail has.
const TailBins = tailBins

// TailBin is the bin of a tail that residual r is counted in.
func TailBin(r float64) int { return min(max(int(tailPosition(r)), 0), tailBins-1) }

// learn keeps the share keep of what was counted, and counts residual r.
func (t *tail) learn(keep, r float64) {
	for i := range t {
		t[i] = t[i]*float32(keep) + tiny
	}
	t[TailBin(r)]++
}

// tameReach is the most that a residual is where forecasts err by chance alone. It takes tameDoubt residuals to prove
// that as likely as not, and tameWild more for each that is larger.
const tameReach, tameDoubt, tameWild = 5, 20, 50

// tame returns how surely the forecasts whose residuals t counted erred by chance alone, from 0 to 1.
func (t *tail) tame() float64 {
	n, wild := float32(0), float32(0)
	for _, x := range t {
		n += x
	}
	for _, x := range t[TailBin(tameReach)+1:] {
		wild += x
	}
	return float64(n / (n + tameDoubt + tameWild*wild))
}

// cumulate puts into above, for the lower edge of each bin, the share of residuals at or above it: of those that t
// counted and of the priors together. share says how the priors divide their weight.
func (t *tail) cumulate(priors *[kinds]tail, share *[kinds]float64, weight float64, above *[tailBins + 1]float64) {
	n := float32(0)
	for _, x := range t {
		n += x
	}
	scale := 1 / (float64(n) + weight)
	var by [kinds]float32
	for k := range by {
		by[k] = float32(weight * share[k])
	}
	sum := 0.0
	above[tailBins] = 0
	for i := tailBins - 1; i >= 0; i-- {
		x := t[i] + by[0]*priors[0][i] + by[1]*priors[1][i] + by[2]*priors[2][i] + by[3]*priors[3][i]
		sum += float64(x) * scale
		above[i] = min(sum, 1)
	}
}

// tailEdges are the lower edges of the bins, and the end of the last.
type tailEdges [tailBins + 1]float64

func newTailEdges() (e tailEdges) {
	for i := range e {
		e[i] = math.Sinh((float64(i)*2/tailBins - 1) * math.Asinh(tailReach))
	}
	return e
}

// beyond returns the share of residuals above r.
func (e *tailEdges) beyond(above *[tailBins + 1]float64, r float64) float64 {
	if !(r > e[0]) {
		return 1
	}
	if r >= e[tailBins] {
		return 0
	}
	i := 0
	for step := tailBins / 2; step > 0; step /= 2 {
		if r >= e[i+step] {
			i += step
		}
	}
	return above[i] + (above[i+1]-above[i])*(r-e[i])/(e[i+1]-e[i])
}

// kinds is how many kinds of load the factory knows, from calm to wild. After an hour, the residuals of a port space
// show which kind its load is of.
const kinds = 4

// kindTails are the tails of each kind of load, by horizon; kindShares say how common each is.
type (
	kindTails  [detector.NumHorizons][kinds]tail
	kindShares [detector.NumHorizons][kinds]float32
)

const (
	// kindProof is how much a residual counts: less than 1, because forecasts of one horizon overlap, four at a time.
	kindProof = 0.3
	// kindKeep is which share of that is kept at each further residual, because a load may turn into another kind.
	kindKeep = 0.98
)

// kindDoubt returns for each horizon how much the shares that are common weigh, whatever a port space has shown. At 5
// minutes there are many residuals to tell a kind by, so they weigh little; elsewhere they are all that counts.
func kindDoubt() [detector.NumHorizons]float64 { return [detector.NumHorizons]float64{1, 0.3, 1, 1} }

// kind has for each kind of load the logarithm of how likely the residuals of a horizon were under it.
type kind [kinds]float32

// learn takes a residual in bin i.
func (k *kind) learn(i int, tails *[kinds]tail) {
	for n := range k {
		k[n] = kindKeep*k[n] + kindProof*float32(math.Log(float64(tails[n][i])))
	}
}

// shares returns the probability of each kind.
func (k *kind) shares(common *[kinds]float32, doubt float64) (share [kinds]float64) {
	top := k[0]
	for _, x := range k[1:] {
		top = max(top, x)
	}
	sum := 0.0
	for n, x := range k {
		share[n] = float64(common[n]) * math.Exp(float64(x-top))
		sum += share[n]
	}
	for n := range share {
		share[n] = doubt*float64(common[n]) + (1-doubt)*share[n]/sum
	}
	return share
}

// Judged is a forecast that is due, with what came.
type Judged struct {
	Horizon int
	// Residual is by how many standard deviations the highest fill was above the one forecast.
	Residual float64
	// Said is the probability that was forecast, Hit says that the ceiling was reached. If Exhausted, it was reached
	// before the forecast, so that neither tells anything.
	Said           float64
	Hit, Exhausted bool
}

// pending is a forecast that waits for its horizon to pass.
type pending struct {
	arrivals float64             // before the forecast, for the regression of the rate
	mean     [components]float32 // by component, at the horizon
	mix      float32             // their weighted mean there
	sd       float32
	// top is the highest fill that was forecast up to the horizon, topSD its standard deviation. topRecurring is the
	// highest if what recurs comes again, topRest the highest of all other components together.
	top, topSD, topRecurring, topRest float32
	said                              float32 // probability
	highest                           float32 // fill seen since
	// rate and fill, and their long means then, are for the two regressions.
	rate, rateMean, fill, fillMean float32
	due                            uint32 // second: it is 2106 before they are too many
	beyond                         bool   // it was exhausted already, so the probability is not scored
	hit                            bool   // it was exhausted since
	burst                          bool   // a burst was expected by the horizon
}

// pendings is how many forecasts of one horizon wait at a time.
const pendings = 4

// learnt is what one port space learned from its forecasts at one horizon.
type learnt struct {
	waiting [pendings]pending
	next    int64 // second of the next forecast to keep
	tail    tail
	kind    kind
	// score is the mean absolute error of each component in standard deviations.
	score [components]float32
	// duel compares what recurs with all other components together, by the error of the highest fill: [0] where no burst
	// was expected by the horizon, [1] where one was.
	duel [2]duel
	// rate and fill are regressions of the distance from the long mean at the horizon on the distance now.
	rate, fill regression
	// spread is the mean square of the residuals at the horizon, where a residual is in standard deviations.
	spread float32
	seen   float32 // forecasts scored, at most seenMost
}

// proofs say which of two components did better in the past where the two differed. rise compares the trend with a rate
// that stays, at each horizon up to a page's. flows compares where rate and lifetimes lead by the horizon of a
// page with a fill that stays.
type proofs struct {
	rise  [planning + 1]duel
	flows duel
}

// learn takes in what came of forecast p of horizon h.
func (v *proofs) learn(h int, p *pending, held float64) {
	sd := float64(p.sd)
	compare := func(d *duel, a, b, differ float64) {
		if math.Abs(a-b) > differ*sd {
			d.learn(math.Abs(held-a)/sd, math.Abs(held-b)/sd)
		}
	}
	course := float64(p.mean[revert])
	if h <= planning {
		compare(&v.rise[h], float64(p.mean[trend]), course, riseDiffers)
	}
	if h == planning {
		compare(&v.flows, course, float64(p.mean[stay]), flowsDiffer)
	}
}

// duel has the mean errors of two rivals, recurring and rest, in standard deviations, over so many rounds.
type duel struct{ recurring, rest, rounds float32 }

func (d *duel) learn(clock, rest float64) {
	d.rounds = min(d.rounds+1, seenMost)
	d.recurring += (float32(min(clock, tailReach)) - d.recurring) / d.rounds
	d.rest += (float32(min(rest, tailReach)) - d.rest) / d.rounds
}

// trust returns the weight of the first of the rivals: a half before the first round.
func (d *duel) trust() float64 { return d.trustFrom(1) }

// trustFrom returns the weight of the first of the rivals, whose odds before the first round are given.
func (d *duel) trustFrom(odds float64) float64 {
	const worth, power = 2, 8 // the odds before weigh as much as worth rounds
	odds *= math.Pow(float64((worth+d.rounds*d.rest)/(worth+d.rounds*d.recurring)), power)
	return odds / (1 + odds)
}

// regression is a least-squares line through the origin, drawn towards a prior slope.
type regression struct {
	xx, xy, n float32
}

func (r *regression) learn(keep, x, y float64) {
	r.xx = r.xx*float32(keep) + float32(x*x)
	r.xy = r.xy*float32(keep) + float32(x*y)
	r.n = r.n*float32(keep) + 1
}

// slope returns the slope, from 0 to 1; the prior weighs as much as worth observations.
func (r *regression) slope(prior, worth float64) float64 {
	n := float64(r.n)
	if !(r.xx > 0) {
		return prior
	}
	return min(max((n*float64(r.xy)/float64(r.xx)+worth*prior)/(n+worth), 0), 1)
}

// seenMost is over how many scored forecasts the mean errors reach.
const seenMost = 100

// take learns from forecast p, which is due u seconds after it was made, with held ports and opened arrivals by now.
func (l *learnt) take(p *pending, held, opened, u, keep float64, tails *[kinds]tail) {
	l.seen = min(l.seen+1, seenMost)
	f := 1 / float64(l.seen)
	sd := float64(p.sd)
	for k := range l.score {
		l.score[k] += float32(f * (min(math.Abs(held-float64(p.mean[k]))/sd, tailReach) - float64(l.score[k])))
	}
	highest := float64(p.highest)
	d := &l.duel[0]
	if p.burst {
		d = &l.duel[1]
	}
	d.learn(math.Abs(highest-float64(p.topRecurring))/sd, math.Abs(highest-float64(p.topRest))/sd)
	r := (held - float64(p.mix)) / sd
	l.spread += float32(f * (min(r*r, spreadMost) - float64(l.spread)))
	residual := (highest - float64(p.top)) / float64(p.topSD)
	l.tail.learn(keep, residual)
	l.kind.learn(TailBin(residual), tails)
	l.rate.learn(keep, float64(p.rate), (opened-p.arrivals)/u-float64(p.rateMean))
	l.fill.learn(keep, float64(p.fill), held-float64(p.fillMean))
}

// variance returns the mean square of past residuals in variances, at least a quarter.
func (l *learnt) variance() float64 { return max(0.25, float64(l.spread)) }

// flowsDiffer is how many standard deviations must lie between where rate and lifetimes lead and a fill that stays, for
// the two to differ.
const flowsDiffer = 2

// riseDiffers is how many standard deviations must lie between a trend and a rate that stays, for the two to differ.
const riseDiffers = 1
