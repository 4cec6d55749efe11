package forecast

import "math"

const (
	// surprising is the square of the deviation from which on ends surprise: 4 standard deviations.
	surprising = 16
	// surprisingFor is over how many seconds the ends of all ages add up to a surprise. They only make a change
	// suspected, unless a factor explains them: then they count as a surprise, and surprisingMore is how much more makes
	// the past be forgotten as fast again.
	surprisingFor, surprisingMore = 5, 8
	// changeFor is how many seconds after a surprise lifetimes count as just changed.
	changeFor = 15
)

// surprise compares the ends of a tick with those that the survival curve of the tick before foretold. News says that
// flows opened or ended since then: between two dumps there are no ends, and none are missed. lost is how many flows
// that were not young ended beyond all expectation; apart is how many more ended of all ages, and chance the variance
// that this has by chance.
func (l *lifetimes) surprise(seen *exposure, news bool, edges *ageEdges) (s surprise, lost, apart, chance float64) {
	for g := range s {
		d, e := 0.0, float64(l.foretold[g])
		for k := g * ageGroup; k < min((g+1)*ageGroup, ageBuckets); k++ {
			d += float64(seen.ended[k])
			if a, b := float64(l.survive[k]), float64(l.survive[k+1]); a > 0 {
				e += float64(seen.lived[k]) * 2 * (a - b) / (a + b) / (edges[k+1] - edges[k])
			}
		}
		l.foretold[g] = float32(e)
		if news {
			l.foretold[g] = 0
			s[g] = max(0, (d-e)*(d-e)/(e+1)/surprising-1)
			if s[g] > 0 && g >= reopenLeast {
				lost += max(0, d-e)
			}
			apart, chance = apart+d-e, chance+e
		}
	}
	return s, lost, apart, chance
}

// surprised learns whether lifetimes changed. Even a memory of seconds still has lifetimes from before, and would make
// a page late.
func (o tick) surprised(w *workspace, dt float64) (s surprise) {
	w.lost, w.ended = 0, 0
	if o.account.f.without&PartSurprise != 0 {
		return s
	}
	news := o.opened != o.openedBefore
	for k, n := range w.seen.ended {
		news = news || n > 0
		if k >= reopenLeast*ageGroup {
			w.ended += float64(n)
		}
	}
	var apart, chance float64
	s, w.lost, apart, chance = o.times.surprise(&w.seen, news, w.edges)
	keep := math.Exp(-dt / surprisingFor)
	o.apart, o.chance = o.apart*float32(keep)+float32(apart), o.chance*float32(keep*keep)+float32(chance)
	lately := max(0, float64(o.apart*o.apart/(o.chance+1))-surprising) / surprisingMore
	fade := math.Exp(-dt / changeFor)
	o.changed *= fade
	before := float64(o.suspected)
	for g := range s {
		if o.stretched > 0.5 {
			s[g] = max(s[g], lately)
		}
		o.changed = max(o.changed, s[g]/(1+s[g]))
	}
	o.suspected = float32(max(before*fade, o.changed, lately/(1+lately)))
	if before < stretchFrom {
		o.suspectedAt = uint32(o.last)
	}
	return s
}

// hasten moves h towards the hazards of a faster memory in groups of buckets where a log-rank test says that lifetimes
// have changed: the surer the test, the farther.
func (o *occurrence) hasten(h *rates) {
	for first := 0; first < ageBuckets; first += ageGroup {
		last := min(first+ageGroup, ageBuckets)
		d, e := 0.0, 0.0
		for k := first; k < last; k++ {
			d += float64(o.ended[k])
			e += float64(o.lived[k]) * h[k]
		}
		z2 := (d - e) * (d - e) / (e + 1)
		m := max(2, (60+4*d)/(1+z2*z2/16))
		for k := first; k < last; k++ {
			h[k] = (float64(o.ended[k]) + m) / (float64(o.lived[k]) + m/h[k])
		}
	}
}

// mixLately is the time constant in seconds of the short count of ends by cool-down.
const mixLately = 15

// shift moves share, the shares of cool-downs over minutes, towards the shares of the last seconds if a test says that
// flows end in another way now: the surer the test, the farther.
func (o tick) shift(share *[coolClasses]float64, dt float64) {
	keep := float32(math.Exp(-dt / mixLately))
	n := 0.0
	for k := range o.endedLately {
		n += float64(o.endedLately[k])
	}
	z2 := 0.0
	for k, x := range o.endedLately {
		e := n * share[k]
		z2 += (float64(x) - e) * (float64(x) - e) / (e + 1)
	}
	if x := z2/surprising - 1; x > 0 {
		o.changed = max(o.changed, x/(1+x)) // ports are held for another time, as if lifetimes had changed
	}
	m := max(2, 60/(1+z2*z2/16))
	for k := range share {
		share[k] = (float64(o.endedLately[k]) + m*share[k]) / (n + m)
		o.endedLately[k] *= keep
	}
}

// When lifetimes change, they are often the old ones times a factor: a slow store is slow for every call. No flow has
// reached the higher ages since the change, so the ends of young flows give the factor, and the hazards of all ages
// follow it.

const (
	// stretchFrom is how likely it must be that lifetimes have changed before a factor is looked for.
	stretchFrom = 0.02
	// stretchLeast and stretchMost bound the factor, in buckets of ages: two an octave.
	stretchLeast, stretchMost = -4, 4
	// stretchBefore is for how many seconds lifetimes have differed when the first ends show it.
	stretchBefore = 3
	// stretchProof is the logarithm of the likelihood ratio at which a factor counts as even with no change.
	stretchProof = 8
)

// stretch finds the factor of lifetimes under which the ends of the last seconds are likeliest, and moves the hazards h
// towards those under that factor: the likelier the factor, the farther. Only ages that a flow can have reached since
// lifetimes changed are compared.
func (o tick) stretch(h *rates) {
	o.stretched, o.slower = 0, 0
	if o.suspected < stretchFrom {
		return
	}
	const step = math.Ln2 / 2
	seen := &o.speeds[fast]
	young := ageBucket(max(o.last-float64(o.suspectedAt)+stretchBefore, 1))
	var logs rates
	for k, x := range h {
		logs[k] = math.Log(x)
	}
	var likely [stretchMost - stretchLeast + 1]float64
	best := 0
	for i := range likely {
		by := i + stretchLeast
		slower, sum := math.Exp(-step*float64(by)), 0.0
		for k := range young {
			j := min(max(k-by, 0), ageBuckets-1)
			sum += float64(seen.ended[k])*(logs[j]-step*float64(by)) - float64(seen.lived[k])*h[j]*slower
		}
		likely[i] = sum
		if sum > likely[best] {
			best = i
		}
	}
	gain := likely[best] - likely[-stretchLeast]
	if gain <= 0 {
		return
	}
	by := float64(best + stretchLeast)
	if best > 0 && best < len(likely)-1 {
		// The top of the parabola through the best and its neighbours.
		a, b, c := likely[best-1], likely[best], likely[best+1]
		by += (a - c) / (2 * (a - 2*b + c))
	}
	sure := 1 / (1 + math.Exp(min(stretchProof-gain, 500)))
	o.stretched = float32(sure)
	if by > 0 {
		o.slower = o.stretched
	}
	whole := math.Floor(by)
	part := by - whole
	for k := range h {
		j := min(max(k-int(whole), 0), ageBuckets-1)
		i := max(j-1, 0)
		then := logs[j] + part*(logs[i]-logs[j]) - step*by
		h[k] = math.Exp(logs[k] + sure*(then-logs[k]))
	}
}
