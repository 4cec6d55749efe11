package forecast

import (
	"math"
)

// hold computes how many of the ports held now will be held ahead, and how many each arrival adds. A port is held for
// the lifetime of its flow and the cool-down of its class; w.share is the share of each class.
func (o tick) hold(w *workspace, now float64) {
	s, c := o.account, &w.course
	var then [aheads]int64
	for i, u := range w.grid {
		then[i] = int64(now + u)
	}
	o.cools.after(then[:], c.base[:])
	for i, u := range w.grid {
		c.variance[i] = 0
		c.gain[i], c.double[i] = w.gain(o.account, u)
	}
	if s.f.without&PartRelease != 0 && s.longest > 0 {
		for i, u := range w.grid {
			c.base[i] = float64(o.cools.total) * math.Exp(-u/float64(s.longest))
		}
	}
	found, seen := float64(o.times.ages.unknown), 0.0 // live flows of unknown age, seconds since their first sight
	if found > 0 {
		seen = max(0, now-float64(o.times.ages.early)/found)
	}
	if s.f.without&PartAges != 0 {
		found, seen = float64(o.times.ages.count()), 0
	} else {
		w.holdAged(s)
	}
	w.holdFound(s, found, seen)
	perFlow := w.perFlow
	if perFlow == 1 {
		return
	}
	for i := range w.grid {
		c.base[i] *= perFlow
		c.variance[i] *= perFlow
	}
}

// holdAged adds the ports of live flows of known age that will be held ahead.
func (w *workspace) holdAged(s *Account) {
	c, crowd, share := &w.course, &w.crowd, &w.share
	for k, n := range crowd.n {
		if n == 0 {
			continue
		}
		age := crowd.age[k]
		lived := max(w.curve.at(age), math.SmallestNonzeroFloat64)
		for i, u := range w.grid {
			q := 0.0
			for k, cool := range s.classes {
				if share[k] == 0 {
					continue
				}
				if u <= cool {
					q += share[k]
				} else {
					q += share[k] * w.curve.at(age+u-cool) / lived
				}
			}
			c.base[i] += n * q
			c.variance[i] += n * q * (1 - q)
		}
	}
}

// holdFound adds the ports of n live flows that were found open, seen seconds ago on average: they live on for as long
// as a flow that is met at a random moment of its life.
func (w *workspace) holdFound(s *Account, n, seen float64) {
	if n <= 0 {
		return
	}
	c, share := &w.course, &w.share
	const end = 1e5
	all, _ := w.curve.mean(end)
	met, _ := w.curve.mean(min(seen, end/2))
	for i, u := range w.grid {
		q := 0.0
		for k, cool := range s.classes {
			if u <= cool {
				q += share[k]
			} else if share[k] > 0 {
				then, _ := w.curve.mean(min(seen+u-cool, end))
				q += share[k] * min(max((all-then)/max(all-met, 1e-9), 0), 1)
			}
		}
		c.base[i] += n * q
		c.variance[i] += n * q * (1 - q)
	}
}

// hanging tells flows that nobody answers. A server that stops answering fills the ports long before the first of these
// flows has ended, and no hazard tells how long they will last.
type hanging struct {
	// usual is how many live flows wait for an answer on the mean, since when more than that wait.
	usual float32
	since uint32 // second
}

const (
	// usualFor is over how many seconds the flows that wait for an answer make the usual number. Where only dumps tell
	// answers, that number climbs to twice its mean between two dumps, so hangsFrom times the mean are not yet many.
	usualFor, hangsFrom = 3600, 3
	// usualMost is how many times the usual number a moment counts, so that an outage does not become usual.
	usualMost = 10
	// hangsLeast is how many flows more than usual must wait, however few do usually.
	hangsLeast = 5
	// hangsOdds is how likely flows that hang go on to hang until the next minute is over, and hangsFor the time constant
	// in seconds by which that is lost: then hazards know them. Chosen by hand on seeds 1100 to 1102.
	hangsOdds, hangsFor = 0.5, 10
	// hangsSeen is from how many seconds ago on flows are taken to wait still.
	hangsSeen = 30
	// usualAfter is after how many seconds a mean tells what is usual.
	usualAfter = 10
)

// share takes in that waiting live flows wait for an answer, of rate flows a second in a port space first met age
// seconds ago. It returns which share of flows hangs, 0 if no more wait than usually, and its standard deviation.
func (x *hanging) share(now, dt, age, waiting, rate float64) (share, by float64) {
	usual := float64(x.usual)
	f := max(1-math.Exp(-dt/usualFor), min(1, dt/(age+dt)))
	x.usual += float32(f * (min(waiting, usualMost*(usual+1)) - usual))
	if age < usualAfter || rate <= 0 || waiting < hangsFrom*usual+windowSpan*math.Sqrt(usual)+hangsLeast {
		x.since = uint32(now)
		return 0, 0
	}
	n := rate * min(max(now-float64(x.since), 1), hangsSeen)
	share = min((waiting-usual)/n, 1)
	return share, math.Sqrt((share*(1-share) + 1/n) / n)
}

// hung returns how much likelier the ceiling of o is passed at time i of the grid because flows hang, and each arrival
// that hangs holds its port until then. Where ports cool down for longer anyway, that is no likelier.
func (w *workspace) hung(o *Outlook, i int) float64 {
	if w.hangs == 0 {
		return 0
	}
	c, u := &w.course, w.grid[i]
	passes := func(hold, by float64) float64 {
		mean := c.base[i] + o.rate*hold
		return w.exceeds(o.account, (o.ceiling-mean)/math.Sqrt(c.variance[i]+max(0, mean-c.base[i])+1+by*by))
	}
	hold := c.gain[i]
	more := passes(hold+max(0, w.hangs*(u-hold)), o.rate*u*w.hangsBy) - passes(hold, 0)
	return hangsOdds * math.Exp(-(o.last-float64(o.hang.since))/hangsFor) * max(0, more)
}

// gain returns the ports held u seconds ahead per arrival per second, and per arrival per second squared.
func (w *workspace) gain(a *Account, u float64) (one, two float64) {
	if u <= 0 {
		return 0, 0
	}
	for k, cool := range a.classes {
		switch {
		case w.share[k] == 0:
		case u <= cool:
			one += w.share[k] * u
			two += w.share[k] * u * u / 2
		default:
			a, b := w.curve.mean(u - cool)
			one += w.share[k] * (cool + a)
			two += w.share[k] * (cool*cool/2 + cool*(u-cool) + b)
		}
	}
	return one * w.perFlow, two * w.perFlow
}

// stays returns the probability that the port of a flow is held u seconds after the open.
func (w *workspace) stays(a *Account, u float64) float64 {
	q := 0.0
	for k, cool := range a.classes {
		switch {
		case w.share[k] == 0:
		case u <= cool:
			q += w.share[k]
		default:
			q += w.share[k] * w.curve.at(u-cool)
		}
	}
	return q * w.perFlow
}
