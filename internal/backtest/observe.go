package backtest

import (
	"math"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

// observer watches one port space during a replay: what the methods say, and what comes.
type observer struct {
	truth   score.Truth
	track   score.Tracker
	methods []Method
	alarms  []score.Alarm
	logs    []score.AlarmLog // one per alarm
	// warm is the first tick that is judged, every how many ticks apart the
	// predictions are that are kept.
	warm, every int

	at   []int32      // ticks of the kept predictions, all outside episodes
	kept [][]kept     // by method, one per at
	said []Prediction // by method, at this tick
	gap  int          // mergeGap in ticks
	// pages are the one that is shipped, on what the first method says, asked from a third of the interval on later than
	// the one before; starts are the ticks at which the agent started.
	pages  [looks]score.Pager
	starts []int
	// ideal is the same page on what the oracle says, the last method; it has no pages without one. urgency is that of it.
	ideal   score.Pager
	urgency float64
	// coolDown is the longest.
	coolDown time.Duration
	// chart is what the page draws; nil without a page.
	chart *chart
}

// looks is how many pages of a run are judged, so that none depends on when Prometheus happens to ask.
const looks = 3

// pageHorizon is the number of the horizon that pages: detector.PageHorizon.
const pageHorizon = 1

// kept is a prediction in short.
type kept struct {
	score, mean, variance [horizons]float32
}

func newObserver(tick, every, warm time.Duration, methods []Method, alarms []score.Alarm) *observer {
	o := &observer{
		truth:   score.Truth{Tick: tick},
		track:   score.NewTracker(tick),
		methods: methods,
		alarms:  alarms,
		logs:    make([]score.AlarmLog, len(alarms)),
		every:   max(1, int(every/tick)),
		warm:    int(warm / tick),
		kept:    make([][]kept, len(methods)),
		said:    make([]Prediction, len(methods)),
	}
	o.gap = o.truth.Ticks(score.MergeGap)
	for i := range o.pages {
		every := max(1, o.truth.Ticks(detector.PageEvery))
		o.pages[i] = score.Pager{
			Raise: detector.PageRaise, Clear: detector.PageClear,
			Keep: o.truth.Ticks(detector.PageKeep), ScarceKeep: o.truth.Ticks(detector.PageScarceKeep),
			Every: every, From: i * every / looks,
		}
	}
	o.ideal = o.pages[0]
	return o
}

// observe takes tick k. space is what each detector says of the port space, nil where it
// does not know it; the first methods are those of the detectors.
func (o *observer) observe(k int, c *Counts, space []*detector.SpaceSnapshot) {
	o.truth.Held = append(o.truth.Held, int32(c.Held))
	o.truth.Ceiling = append(o.truth.Ceiling, int32(c.Ceiling))
	in := o.track.Step(c.Held, c.Ceiling)
	for i, m := range o.methods {
		m.Observe(c)
		if i < len(space) && space[i] != nil {
			m.(*agentForecast).take(space[i])
		}
	}
	if o.chart != nil {
		o.chart.add(k, c, o.methods[0].Predict)
	}
	o.page(k, c)
	if k < o.warm {
		return
	}
	if in {
		for i := range o.logs {
			o.logs[i].Cut()
		}
		return
	}
	keep := k%o.every == 0
	if !keep && len(o.alarms) == 0 {
		return
	}
	for i, m := range o.methods {
		m.Predict(&o.said[i])
	}
	for i, a := range o.alarms {
		o.logs[i].Step(k, float32(o.said[a.Method].Score[a.Horizon]) >= float32(a.Threshold), o.gap)
	}
	if !keep {
		return
	}
	o.at = append(o.at, int32(k))
	for i := range o.methods {
		var s kept
		for h := range horizons {
			p := &o.said[i]
			s.score[h], s.mean[h], s.variance[h] = float32(p.Score[h]), float32(p.Mean[h]), float32(p.Variance[h])
		}
		o.kept[i] = append(o.kept[i], s)
	}
}

// page looks at tick k whether there is to be a page.
func (o *observer) page(k int, c *Counts) {
	scarce := detector.PageScarce(float64(c.Held), float64(c.Ceiling))
	said := o.methods[0].(*agentForecast).said()
	for i := range o.pages {
		o.pages[i].Step(k, float64(said.Urgency), said.Probability[pageHorizon], scarce)
	}
	last := len(o.methods) - 1
	if k%o.ideal.Every != 0 || o.methods[last].Name() != NameOracle {
		return
	}
	o.methods[last].Predict(&o.said[last])
	ideal := &o.said[last].Score
	o.urgency = detector.PageUrgency(o.urgency, detector.PageNow{
		Soon: ideal[0], Within: ideal[pageHorizon], Held: float64(c.Held), Ceiling: float64(c.Ceiling),
		Passed: time.Duration(o.ideal.Every) * o.truth.Tick, CoolDown: o.coolDown,
	})
	o.ideal.Step(k, o.urgency, ideal[pageHorizon], scarce)
}

// judged pairs a method's scores with what came; what the record does not tell is left out.
func (o *observer) judged(to []score.Judged, method, horizon int, ahead time.Duration) []score.Judged {
	ticks := o.truth.Ticks(ahead)
	for i, k := range o.at {
		if hit, known := o.truth.Exhausts(int(k), ticks); known {
			to = append(to, score.Judged{Score: o.kept[method][i].score[horizon], Hit: hit})
		}
	}
	return to
}

// PointError is how far expected held ports were from those that came. It adds up over runs.
type PointError struct {
	N   int
	Sum float64 // of |expected - came|
	// Inside counts what came within the 90 % band that mean and variance tell.
	Inside int
}

// MAE is the mean absolute error, in ports.
func (e *PointError) MAE() float64 { return e.Sum / float64(e.N) }

// Coverage is the share of what came that lay inside the band.
func (e *PointError) Coverage() float64 { return float64(e.Inside) / float64(e.N) }

func (e *PointError) merge(o *PointError) {
	e.N += o.N
	e.Sum += o.Sum
	e.Inside += o.Inside
}

// pointError compares a method's means with what came.
func (o *observer) pointError(method, horizon int, ahead time.Duration) PointError {
	const z90 = 1.6449 // of the normal distribution
	var e PointError
	ticks := o.truth.Ticks(ahead)
	for i, k := range o.at {
		if int(k)+ticks >= len(o.truth.Held) {
			break
		}
		s := &o.kept[method][i]
		off := math.Abs(float64(s.mean[horizon]) - float64(o.truth.Held[int(k)+ticks]))
		e.N++
		e.Sum += off
		// Held ports are whole: half a port either way is no error.
		if off <= z90*math.Sqrt(float64(s.variance[horizon]))+0.5 {
			e.Inside++
		}
	}
	return e
}
