// Package scenario generates the flows of loads that a forecast is judged on.
package scenario

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

// Scenario is a kind of load that the forecast is judged on.
type Scenario struct {
	Name string
	// Text says in one line what happens.
	Text string
	// Length scales the length of a run.
	Length float64
	// Many says that there are many destinations.
	Many bool
	plan func(*load)
	// only names the profiles that it is run with; all if it is nil.
	only []string
}

// Has says whether the scenario is run with profile p.
func (s Scenario) Has(p Profile) bool { return s.only == nil || slices.Contains(s.only, p.Name) }

// All are all of them, in the order of every table.
func All() []Scenario {
	return []Scenario{
		{Name: "steady", Text: "60 % of the budget, nothing happens", Length: 1, plan: steady(0.6)},
		{Name: "steady_hi", Text: "93 % of the budget, only chance passes it", Length: 1, plan: steady(0.93)},
		{Name: "ramp", Text: "load climbs over one to two hours, half of the time too far", Length: 1, plan: ramp},
		{Name: "burst", Text: "opens multiply by 1.3 to 3.5 for 4 minutes", Length: 1, plan: burst},
		{
			Name: "slow", Text: "hold times grow at a constant rate of opens, at once or over 1 to 5 minutes", Length: 1,
			plan: slow,
		},
		{Name: "diurnal", Text: "the days of an office, three of them", Length: 9, plan: diurnal},
		{Name: "retry", Text: "a server stops answering: 30 s timeouts, 90 % tried again, 5 times", Length: 1, plan: retry},
		{Name: "leak", Text: "some flows are never closed until a restart", Length: 1, plan: leak},
		{Name: "tier", Text: "a pool of 40 grows to 46–62 nodes; above 50 the share halves", Length: 1, plan: tier},
		{Name: "mmpp", Text: "opens come correlated: the logarithm of the rate wanders", Length: 1, plan: correlated},
		{Name: "cron", Text: "batches every 5 minutes, a larger one every two hours", Length: 1, plan: cron},
	}
}

// Generate returns one run of s, hours long (nine times as long for day and
// night). The same arguments give the same flows.
func (s Scenario) Generate(p Profile, seed uint64, hours float64) *Run {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.Name + p.Name))
	l := &load{profile: p, seconds: 3600 * hours * s.Length, r: rand.New(rand.NewPCG(seed, h.Sum64()))}
	l.life = l.asProfile
	s.plan(l)
	return l.run()
}

// asProfile is how flows live while nothing is wrong.
func (l *load) asProfile(float64) (float64, collector.Reason) {
	return l.profile.life.draw(l.r, 1), collector.FIN
}

// between draws uniformly.
func (l *load) between(from, to float64) float64 { return from + (to-from)*l.r.Float64() }

// span is a time in which something is different.
type span struct {
	from, to float64
	// onset is how long it takes to build up.
	onset, factor float64
}

// strength of what happens at t, from 0 to 1.
func (s span) strength(t float64) float64 {
	switch {
	case t < s.from || t >= s.to:
		return 0
	case t >= s.from+s.onset:
		return 1
	}
	return (t - s.from) / s.onset
}

// spans draws what happens in a run: gaps are exponential with a floor of a third.
func (l *load) spans(gap float64, next func(from float64) span) []span {
	var all []span
	for t := 900 + l.r.ExpFloat64()*gap; t < l.seconds; {
		s := next(t)
		all = append(all, s)
		t = s.to + gap/3 + l.r.ExpFloat64()*gap*2/3
	}
	return all
}

// cursor returns a function that tells the span that holds t, or the zero span. Calls come nearly in order of t.
func cursor(all []span) func(t float64) span {
	i := 0 // of the first span that ends after the t asked last
	return func(t float64) span {
		for i > 0 && t < all[i-1].to {
			i--
		}
		for i < len(all) && t >= all[i].to {
			i++
		}
		if i < len(all) && t >= all[i].from {
			return all[i]
		}
		return span{}
	}
}

func constant(x float64) func(float64) float64 { return func(float64) float64 { return x } }

func steady(share float64) func(*load) {
	return func(l *load) { l.share = constant(share) }
}

// ramp climbs from half of the budget to 80–115 % over one to two hours, stays
// ten minutes and comes down over fifteen.
func ramp(l *load) {
	const stay, down = 600, 900
	at := cursor(l.spans(2700, func(from float64) span {
		up := l.between(3600, 7200)
		return span{from: from, to: from + up + stay + down, onset: up, factor: l.between(0.8, 1.15)}
	}))
	l.share = func(t float64) float64 {
		s := at(t)
		k := min(s.strength(t), (s.to-t)/down)
		return 0.5 + max(0, k)*(s.factor-0.5)
	}
}

func burst(l *load) {
	at := cursor(l.spans(2700, func(from float64) span {
		return span{from: from, to: from + 60 + l.r.ExpFloat64()*180, factor: l.between(1.3, 3.5)}
	}))
	l.share = func(t float64) float64 {
		if s := at(t); s.factor > 0 {
			return 0.55 * s.factor
		}
		return 0.55
	}
}

// slow is the incident: a store that answered in 50 ms takes 2–60 s (or 1.2–4
// times as long where calls take seconds already). With a cool-down of 240 s
// that is a few per cent more ports, so the load is higher there.
func slow(l *load) {
	share := 0.5
	if l.profile.CoolDown.Seconds() > 60 {
		share = 0.85
	}
	at := cursor(l.spans(3600, func(from float64) span {
		s := span{from: from, to: from + l.between(600, 1200)}
		if l.r.Float64() < 0.5 {
			s.onset = l.between(60, 300)
		}
		if l.profile.CoolDown == 0 {
			s.factor = l.between(1.2, 4)
		} else {
			s.factor = math.Exp(l.between(math.Log(2), math.Log(60))) / l.profile.life.median
		}
		return s
	}))
	l.share = constant(share)
	l.life = func(t float64) (float64, collector.Reason) {
		s := at(t)
		return l.profile.life.draw(l.r, max(1, math.Pow(s.factor, s.strength(t)))), collector.FIN
	}
}

// diurnal is the day of an office: it opens within an hour and a half, has lunch, and goes home over the evening. Days
// differ by some per cent and minutes.
func diurnal(l *load) {
	const day = 24 * 3600
	// At an hour this share of the day's peak, and straight lines between.
	course := [][2]float64{
		{0, 0.35},
		{5, 0.3},
		{7.5, 0.4},
		{9, 0.92},
		{11.5, 1},
		{12.5, 0.8},
		{13.5, 0.97},
		{16.5, 0.95},
		{19, 0.6},
		{22, 0.45},
		{24, 0.35},
	}
	var late, peak []float64
	l.share = func(t float64) float64 {
		d := int(t / day)
		for len(peak) <= d {
			peak = append(peak, l.between(0.94, 1.04))
			late = append(late, l.between(-600, 600))
		}
		hour := min(max((t-float64(d)*day-late[d])/3600, 0), 24)
		i := 1
		for course[i][0] < hour {
			i++
		}
		a, b := course[i-1], course[i]
		return peak[d] * (a[1] + (b[1]-a[1])*(hour-a[0])/(b[0]-a[0]))
	}
}

// correlated lets the logarithm of the rate follow an Ornstein-Uhlenbeck process.
func correlated(l *load) {
	const spread, tau = 0.28, 600
	x := spread * l.r.NormFloat64()
	l.share = func(float64) float64 {
		x += -x/tau + spread*math.Sqrt(2.0/tau)*l.r.NormFloat64()
		return 0.58 * math.Exp(x)
	}
}
