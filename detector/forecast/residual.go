package forecast

import "math"

// tailBins bins hold standardised residuals from -tailReach to +tailReach, evenly in asinh.
const (
	tailBins  = 64
	tailReach = 50
)

// spreadMost is the square of tailReach.
const spreadMost = tailReach * tailReach

// tail is a histogram of how far above its forecast the highest fill came, in standard deviations: what the forecast
// learns of its own errors.
type tail [tailBins]float32

// tailPosition returns the position of residual r among the bins.
func tailPosition(r float64) float64 {
	return (math.Asinh(r)/math.Asinh(tailReach) + 1) * tailBins / 2
}

// learn forgets all but share keep and counts residual r.
func (t *tail) learn(keep, r float64) {
	for i := range t {
		t[i] = t[i]*float32(keep) + tiny
	}
	t[TailBin(r)]++
}

// cumulate puts into above, for each bin's lower edge, the share of residuals at or above
// it: those of t, and of the priors, whose shares sum to one, by weight.
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

// pending is a forecast that waits for its horizon to pass.
type pending struct {
	arrivals float64             // so far, for the regression of the rate
	mean     [components]float32 // by component, at the horizon
	mix      float32             // their weighted mean there
	sd       float32
	// top is the highest fill until then and topSD its standard deviation; topRecurring is the highest by what recurs,
	// topRest by all other components together.
	top, topSD, topRecurring, topRest float32
	said                              float32 // probability
	// highest fill seen since.
	highest float32
	// For the two regressions: rate and fill, less their long means.
	rate, rateMean, fill, fillMean float32
	due                            uint32 // second: it is 2106 before they are too many
	// beyond: the port space was exhausted already, so the probability is not scored. hit: it was exhausted since.
	// burst: a burst was expected until then.
	beyond, hit, burst bool
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
	// duel compares what recurs with all other components together, by the error of the highest fill: if no burst is
	// expected until the horizon (0), and if one is (1).
	duel [2]duel
	// Regressions of the future on the present, both less their long mean.
	rate, fill regression
	// spread is the mean square of the residual at the horizon, in variances.
	spread float32
	seen   float32 // forecasts scored, at most seenMost
}

// proofs are what components showed, where the two differ that are compared: rise compares the trend with a rate that
// stays, up to the horizon of a page; flows compares what rate and lifetimes lead to by then with a fill that stays.
type proofs struct {
	rise  [planning + 1]duel
	flows duel
}

// learn takes what came of forecast p of horizon h.
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

// duel is the mean error of what recurs and of all other components, in standard deviations, over rounds.
type duel struct{ recurring, rest, rounds float32 }

func (d *duel) learn(clock, rest float64) {
	d.rounds = min(d.rounds+1, seenMost)
	d.recurring += (float32(min(clock, tailReach)) - d.recurring) / d.rounds
	d.rest += (float32(min(rest, tailReach)) - d.rest) / d.rounds
}

// trust returns the weight of what recurs: half before the first round.
func (d *duel) trust() float64 { return d.trustFrom(1) }

// trustFrom returns that weight where the odds of what recurs were these before the first round.
func (d *duel) trustFrom(odds float64) float64 {
	const worth, power = 2, 8 // rounds that a draw weighs
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

// slope returns the slope, between 0 and 1; the prior weighs as much as worth observations.
func (r *regression) slope(prior, worth float64) float64 {
	n := float64(r.n)
	if !(r.xx > 0) {
		return prior
	}
	return min(max((n*float64(r.xy)/float64(r.xx)+worth*prior)/(n+worth), 0), 1)
}

// seenMost is how many scored forecasts the mean errors reach back.
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

// flowsDiffer is from how many standard deviations on what rate and lifetimes lead to differs from a fill that stays.
const flowsDiffer = 2

// riseDiffers is from how many standard deviations on a trend differs from a rate that stays.
const riseDiffers = 1
