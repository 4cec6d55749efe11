package ledger

import (
	queue "container/heap"
	"math/rand/v2"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/forecast"
)

// cloud is a NAT that holds a port truth seconds after the end of a flow, and drops the first
// packets of a flow while it has none free. Its node believes something else.
type cloud struct {
	rng   *rand.Rand
	truth float64
	ports int
	held  int
	n     int
	todo  agenda
	// patience is how many seconds an open waits for an answer.
	patience float64
	// life is the mean lifetime in seconds of a flow that is answered, 50 ms where 0.
	life float64
	// retries is how often an open is tried again, a second later at first and then
	// twice as late each time.
	retries int
	// since is when the agent starts; it sees nothing of what ended before.
	since float64
	// brief: the play is over once the budget is contradicted.
	brief bool
	// lost are the seconds between which the agent gets no events.
	lost [2]float64
	// every is how many seconds lie between dumps, and shown what the next one shows; without dumps
	// the agent gets an event at once.
	every float64
	shown []*seenFlow
}

// seenFlow is a flow as the kernel knows it.
type seenFlow struct {
	collector.Flow
	gone float64 // second at which the kernel forgets it
}

type item struct {
	at float64
	n  int
	do func()
}

type agenda []item

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(item)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}

func (c *cloud) later(at float64, do func()) {
	c.n++
	queue.Push(&c.todo, item{at, c.n, do})
}

// tells reports whether the agent hears of what happens at t.
func (c *cloud) tells(t float64) bool { return t >= c.since && (t < c.lost[0] || t >= c.lost[1]) }

// tell gives the agent the event of a flow that opens at t.
func (c *cloud) tell(s script, t float64, e *seenFlow) {
	switch {
	case c.every > 0:
		e.Active = at(t)
		e.Opened = collector.Interval{To: at(t)}
		e.gone = 1e9
		c.shown = append(c.shown, e)
	case c.tells(t):
		f := e.Flow
		f.State = collector.Opening
		s.open(t, f)
	}
}

// over gives the agent the event of its end at t.
func (c *cloud) over(s script, t float64, e *seenFlow, r collector.Reason) {
	switch {
	case c.every > 0 && r == collector.Timeout:
		e.gone = t
	case c.every > 0:
		e.State, e.Reason, e.Ended, e.Active = collector.Done, r, exactly(t), at(t)
		e.gone = t + 120
	case c.tells(t):
		s.close(t, e.Flow, r)
	}
}

// open tries one flow at t; answers is false while the server is dead. It returns whether
// there was a port.
func (c *cloud) open(s script, t float64, answers func(t float64) bool, try int) bool {
	c.n++
	e := &seenFlow{Flow: flowTo(c.n, store)}
	free := c.held < c.ports
	if !free || !answers(t) {
		e.State = collector.Opening
		c.tell(s, t, e)
		end := t + c.patience
		c.later(end, func() { c.over(s, end, e, collector.Timeout) })
		if try < c.retries {
			again := t + float64(int(1)<<try)
			c.later(again, func() { c.open(s, again, answers, try+1) })
		}
		return free
	}
	c.held++
	life := 0.05
	if c.life > 0 {
		life = c.life * c.rng.ExpFloat64()
	}
	c.tell(s, t, e)
	end := t + life
	c.later(end, func() { c.over(s, end, e, collector.FIN) })
	c.later(end+c.truth, func() { c.held-- })
	return true
}

// dumps shows every so often what the kernel knows.
func (c *cloud) dumps(s script, t float64) {
	if t >= c.since {
		flows := make([]collector.Flow, 0, len(c.shown))
		left := c.shown[:0]
		for _, e := range c.shown {
			if e.gone > t {
				left = append(left, e)
				flows = append(flows, e.Flow)
			}
		}
		c.shown = left
		s.dump(t, flows...)
	}
	c.later(t+c.every, func() { c.dumps(s, t+c.every) })
}

// play opens flows at rate a second and returns after how many seconds the budget
// was first contradicted, and after how many a flow first failed for lack of ports; -1 for never.
func (c *cloud) play(s script, seconds float64, rate func(t float64) float64, answers func(t float64) bool) (said, failed float64) {
	said, failed = -1, -1
	if c.every > 0 {
		first := max(c.since, 0) // in its turn: it shows what opened before the agent started
		c.later(first, func() { c.dumps(s, first) })
	} else {
		s.dump(c.since)
	}
	if c.lost[1] > 0 {
		c.later(c.lost[0], func() { s.event(collector.Overrun, c.lost[0], collector.Flow{}) })
		c.later(c.lost[1], func() { s.dump(c.lost[1]) })
	}
	for t := 1.0; t < seconds; {
		if r := rate(t); r > 0 {
			t += c.rng.ExpFloat64() / r
		} else {
			t++
			continue
		}
		for len(c.todo) > 0 && c.todo[0].at <= t {
			queue.Pop(&c.todo).(item).do()
		}
		if !c.open(s, t, answers, 0) && failed < 0 {
			failed = t
		}
		if t >= c.since {
			s.Advance(at(t))
		}
		if said < 0 {
			if ok, _ := forecast.Contradicted(s.forecastsOf(0)); ok {
				said = t
				if c.brief {
					break
				}
			}
		}
	}
	return said, failed
}

// coolingBudget is one of which a port cools down for cool after an end, and at once where no answer came.
func coolingBudget(ports int, cool time.Duration) *budget.Budget {
	t := budget.Terms{Ports: ports, Effective: ports}
	for r := range t.CoolDown {
		t.CoolDown[r] = cool
	}
	t.CoolDown[collector.Timeout] = 0
	return &budget.Budget{Name: "test", Model: "static", TCP: t}
}

func always(float64) bool { return true }

func steady(rate float64) func(float64) float64 { return func(float64) float64 { return rate } }
