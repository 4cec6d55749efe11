package forecast

import (
	"cmp"
	"math"
	"slices"

	"github.com/snatwatch/snatwatch/collector"
)

const (
	// episodeGap is how many slots without a failed open separate two episodes.
	episodeGap = 300 / slotSeconds
	// momentSlots is how many slots count as one moment.
	momentSlots = 4
	// strayShare is the share of opens that may lie on the wrong side of a limit. unexplainedShare is the share of failed
	// opens that the configured budget must fail to explain before a candidate is looked for.
	strayShare, unexplainedShare = 0.05, 0.25
	// coolDownMost is the longest cool-down, in seconds, that a candidate may have.
	coolDownMost = 600
)

// candidate is another budget that fits the sample.
type candidate struct {
	level float64 // mean ports held, as configured, where opens failed
	cool  float64 // the cool-down in seconds that explains the failed opens, 0 if none does
	ports float64 // the number of ports that explains them, 0 if none does
}

// outcome is how many opens of a slot were answered and how many failed, and how free the port space was meanwhile, by
// some measure: from low to high.
type outcome struct {
	slot             int64
	low, high        float64
	answered, failed float64
}

// fit has the sums and the lists that one fit computes.
type fit struct {
	sum         [sampleSlots + 1]float64 // flows ended before each slot, from the first known
	live        float64                  // mean ports that live flows hold
	outcomes    []outcome
	room, order [sampleSlots]outcome
}

// fit looks for a candidate: another budget that separates failed from answered opens, where the budget of s does not.
// Opens towards a port space at its limit fail until a port is free, and not after. Opens towards a server that is
// dead, or drops a share of them, fail however free the port space is: then every candidate is rejected.
func (w *sample) fit(s *Account) (candidate, bool) {
	first, last := w.episode()
	if first < 0 {
		return candidate{}, false
	}
	var t fit
	for i := first; i <= last; i++ {
		t.live += float64(w.rest[i&(sampleSlots-1)]) / float64(last-first+1)
	}
	for i := w.since; i <= last; i++ {
		k := i - w.since
		t.sum[k+1] = t.sum[k] + float64(w.ended[i&(sampleSlots-1)])
	}
	cool := s.classes[s.classOf[collector.FIN]]
	f, ok := w.unexplained(&t, first, last, cool, s.ceiling)
	if !ok {
		return candidate{}, false
	}
	w.gather(&t, first, last, func(i int64) (float64, bool) { return w.reuse(&t, i, s.ceiling) })
	if at, ok := t.limit(s.ceiling, 0.0025, 1); ok && at > 1.1*cool+slotSeconds && at < coolDownMost {
		f.cool = at
		return f, true
	}
	w.gather(&t, first, last, func(i int64) (float64, bool) {
		held, ok := w.held(&t, i, cool)
		return -held, ok
	})
	if at, ok := t.limit(0, 0.01, 0); ok && -at < contradictionLow*s.ceiling {
		f.ports = -at
		return f, true
	}
	return candidate{}, false
}

// episode returns the first and the last slot of the failures that go on now; first is negative if none do.
func (w *sample) episode() (first, last int64) {
	last = int64(w.ticked)/slotSeconds - 1
	first, gap := int64(-1), last
	for i := last; i >= w.since && gap-i <= episodeGap; i-- {
		if w.failed[i&(sampleSlots-1)] > 0 {
			first, gap = i, i
		}
	}
	return first, last
}

// unexplained returns the mean fill of opens that failed well below the ceiling; false if they are few.
func (w *sample) unexplained(t *fit, first, last int64, cool, ceiling float64) (f candidate, ok bool) {
	all, low, groups, group := 0.0, 0.0, 0, int64(-1)
	for i := first; i <= last; i++ {
		failed := float64(w.failed[i&(sampleSlots-1)])
		held, ok := w.held(t, i, cool)
		if !ok || failed == 0 {
			continue
		}
		all += failed
		if held >= contradictionLow*ceiling {
			continue
		}
		f.level = (f.level*low + held*failed) / (low + failed)
		low += failed
		if g := i / momentSlots; g != group {
			group = g
			groups++
		}
	}
	return f, low >= max(contradictionOpens, unexplainedShare*all) && groups > contradictionSlots
}

// held returns the ports held at the end of slot i, if a port cools down for cool seconds; false if the time before
// is unknown.
func (w *sample) held(t *fit, i int64, cool float64) (float64, bool) {
	end := i + 1 - w.since
	from := float64(end) - cool/slotSeconds
	if from < 0 {
		return 0, false
	}
	k := int(from)
	before := t.sum[k]
	if k < sampleSlots {
		before += (from - float64(k)) * (t.sum[k+1] - t.sum[k])
	}
	return float64(w.rest[i&(sampleSlots-1)]) + t.sum[end] - before, true
}

// reuse returns how long ago, at the end of slot i, that flow ended whose port would be used next, if there are that
// many ports. If an open is answered then, no port cools down for longer than that. It returns false if the flow ended
// before the sample begins.
func (w *sample) reuse(t *fit, i int64, ports float64) (float64, bool) {
	end := int(i + 1 - w.since)
	want := t.sum[end] - max(ports-float64(w.rest[i&(sampleSlots-1)]), 0)
	if want < -0.01*ports { // what lived less than a slot may be missing
		return slotSeconds * float64(end), false
	}
	k := end
	for k > 0 && t.sum[k] > want {
		k--
	}
	at := float64(k)
	if want > 0 && k < end && t.sum[k+1] > t.sum[k] {
		at += (want - t.sum[k]) / (t.sum[k+1] - t.sum[k])
	}
	return slotSeconds * (float64(end) - at), true
}

// gather lists the outcomes of the slots from first to last. free measures how free the port space is, and says whether
// it is sure; if not, the port space may be much freer.
func (w *sample) gather(t *fit, first, last int64, free func(i int64) (float64, bool)) {
	t.outcomes = t.room[:0]
	before, known := 0.0, false
	if first > w.since {
		before, known = free(first - 1)
	}
	for i := first; i <= last; i++ {
		now, ok := free(i)
		d := outcome{
			slot: i, low: now, high: now,
			answered: float64(w.answered[i&(sampleSlots-1)]), failed: float64(w.failed[i&(sampleSlots-1)]),
		}
		switch {
		case !ok || !known && i > w.since:
			d.high = math.Inf(1)
		case known:
			d.low, d.high = min(now, before), max(now, before)
		}
		before, known = now, ok
		if d.answered+d.failed > 0 {
			t.outcomes = append(t.outcomes, d)
		}
	}
}

// edge returns how free the port space must be for opens to be answered: nearly no answered open is below it.
func (t *fit) edge() float64 {
	order := append(t.order[:0], t.outcomes...)
	slices.SortFunc(order, func(a, b outcome) int { return cmp.Compare(a.high, b.high) })
	all, below := 0.0, 0.0
	for _, d := range order {
		all += d.answered
	}
	for _, d := range order {
		if below += d.answered; d.answered > 0 && below >= strayShare*all {
			return d.high
		}
	}
	return math.Inf(1)
}

// limit returns where opens begin to fail: nearly all failed opens are below the limit, and nearly all answered opens
// are just above it, because each port that becomes free is taken at once. share and least say how many may lie
// elsewhere. ports is how many ports the measure covers, 0 if it counts ports itself. It returns false if there is no
// such limit, or if chance could look the same.
func (t *fit) limit(ports, share, least float64) (float64, bool) {
	at := t.edge()
	if math.IsInf(at, 0) {
		return 0, false
	}
	if ports == 0 {
		ports = math.Abs(at)
	}
	miss := share*math.Abs(at) + least*(1+math.Abs(at)*math.Sqrt(t.live)/2/ports)
	var below, above, near, far, run float64
	slots, both, clumps := 0, 0, 0
	group, began, deep := int64(-1), int64(-1), false
	failed, answered := false, false
	for _, d := range t.outcomes {
		if g := d.slot / momentSlots; g != group {
			group, failed, answered = g, false, false
		}
		was := failed && answered
		known := !math.IsInf(d.high, 1)
		switch {
		case d.failed == 0:
		case d.low > at+miss:
			above += d.failed
		case known:
			below += d.failed
			failed = true
			if run += d.failed; began < 0 {
				began = d.slot
			}
			deep = deep || least == 0 || d.low < at-5*miss
		}
		switch {
		case d.answered == 0 || !known:
		case d.low > at+3*miss:
			far += d.answered
		case d.high >= at-miss:
			near += d.answered
			slots++
			answered = true
			if d.answered > d.failed {
				if run >= contradictionOpens && deep && d.slot-began >= momentSlots {
					clumps++
				}
				run, began, deep = 0, -1, false
			}
		}
		if failed && answered && !was {
			both++
		}
	}
	if above > 2*strayShare*(below+above) || near < max(contradictionOpens, far) || slots < momentSlots {
		return 0, false
	}
	// By chance, opens at random times would move it by the root of their number.
	moves := 2 * miss / math.Abs(at) * ports
	steady := both > contradictionSlots && math.Sqrt(2*near) > 1.5*moves && math.Sqrt(ports) > moves
	return at, steady || clumps >= 2
}
