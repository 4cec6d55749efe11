package conntrack

import (
	"cmp"
	"fmt"
	"time"
)

// Strategy is how a Source sees flows.
type Strategy uint8

const (
	// Auto polls where that fits the budget, and else takes the cheaper of the two that the namespace allows.
	Auto Strategy = iota
	// Poll dumps the table before conntrack forgets flows that ended: at least every 8 s by the kernel's defaults.
	Poll
	// Events listens to flows that open and end, and dumps more rarely.
	Events
)

var strategyNames = [...]string{"auto", "poll", "events"}

// String returns the name as a flag takes it.
func (s Strategy) String() string {
	if int(s) < len(strategyNames) {
		return strategyNames[s]
	}
	return fmt.Sprintf("strategy %d", uint8(s))
}

// ParseStrategy is the inverse of String.
func ParseStrategy(name string) (Strategy, error) {
	for i, n := range strategyNames {
		if n == name {
			return Strategy(i), nil
		}
	}
	return 0, fmt.Errorf("strategy %q: want auto, poll or events", name)
}

// What an event costs, one for the opening and one for the end of a flow (Linux 6.18):
// the kernel's share is on the packet path, the agent's is used until one was measured.
const (
	eventKernelCost = 3300 * time.Nanosecond
	eventAgentCost  = 1100 * time.Nanosecond
	eventsPerFlow   = 2
)

// EndsLate is how late Events knows at most that a TCP flow ended: its dumps show that, events tell up to 120 s later.
const EndsLate = 60 * time.Second

const (
	intervalDefault = 5 * time.Second
	intervalMax     = 10 * time.Second
	// intervalLeast is the shortest interval that conntrack's timeouts lead to. forgetsDefault is for how long conntrack
	// remembers a flow that was reset, by the kernel's default.
	intervalLeast         = 100 * time.Millisecond
	forgetsDefault        = 10 * time.Second
	eventsIntervalDefault = 30 * time.Second
	eventsIntervalMax     = EndsLate
	// margin is how much cheaper the other strategy must be to be taken, or how far below the budget polling must be
	// to be taken again, and dwell how long one is kept.
	margin = 0.8
	dwell  = time.Minute
)

// workload is what the pacer knows about a namespace.
type workload struct {
	dump  time.Duration // CPU time of a dump
	event time.Duration // CPU time of an event, the agent's
	rate  float64       // flows that open a second, translated or not
	rest  float64       // cores that the process takes beside its dumps, 0 where unknown
	// forgets is for how long conntrack remembers a flow that ended, 0 where unknown.
	forgets time.Duration
	// behind is by how much more than the interval dumps of late ended after the one before began: their own length, and
	// what a busy machine adds.
	behind time.Duration
}

// reach returns the longest interval at which a dump ends before conntrack forgets a flow that ended just after the
// dump before began. Dumps may be a fifth of that time later than they were of late.
func (l *workload) reach() time.Duration {
	return max(l.kept()*4/5-l.behind, l.kept()/10, intervalLeast)
}

func (l *workload) kept() time.Duration { return cmp.Or(l.forgets, forgetsDefault) }

// late notes by how much a dump was behind. What was once is not forgotten at once; a machine that was suspended is not
// behind for hours.
func (l *workload) late(behind time.Duration) { l.behind = min(max(behind, l.behind*7/8), l.kept()) }

// pace is how the flows of a namespace are read.
type pace struct {
	strategy Strategy
	interval time.Duration // from one dump to the next
	cost     float64       // cores
	exceeded bool          // cost is more than the budget
	why      string
}

// pacer chooses the strategy and the interval.
type pacer struct {
	wanted                   Strategy
	interval, eventsInterval time.Duration // the shortest
	budget                   float64       // cores
	endsMatter               bool          // as Config.EndsMatter says
}

// decide returns the pace for l while the strategy now runs. eventsErr says why there can be no events, nil if there
// can.
func (p pacer) decide(l workload, now Strategy, eventsErr error) pace {
	reach := l.reach()
	poll := p.fit(Poll, l, p.interval, reach)
	if eventsErr != nil {
		poll.why = eventsErr.Error()
		return poll
	}
	shortest, longest := p.eventsInterval, eventsIntervalMax
	if p.endsMatter {
		shortest, longest = p.interval, reach
	}
	events := p.fit(Events, l, shortest, longest)
	switch p.wanted {
	case Poll:
		poll.why = "asked for"
		return poll
	case Events:
		if events.why = "asked for"; p.endsMatter {
			events.why += ", with dumps as for poll: ports are free before events tell that a flow ended"
		}
		return events
	}
	if p.endsMatter {
		poll.why = "ports are free before events tell that a flow ended"
		return poll
	}
	costs := fmt.Sprintf("poll costs %.2g %% of a core, events %.2g %%", 100*poll.cost, 100*events.cost)
	poll.why, events.why = costs, costs
	// Under events the end of a TCP flow is seen by the rarer dump or by an event up to 120 s late: where no cool-down
	// covers that, flows that have ended count as held and the forecast sees a flood. Not worth a cheaper poll.
	if now == Events {
		fits := l.dump.Seconds()/reach.Seconds() <= margin*p.budget
		if fits || poll.cost < margin*events.cost {
			return poll
		}
		return events
	}
	if poll.exceeded && events.cost < margin*poll.cost {
		return events
	}
	return poll
}

// fit stretches the interval as far as the budget makes it, but not beyond longest, whatever that costs. Beside events,
// where no flow is missed for a dump that comes late, all that the process takes counts against the budget.
func (p pacer) fit(s Strategy, l workload, shortest, longest time.Duration) pace {
	fixed, rest := 0.0, 0.0
	if s == Events {
		event := l.event
		if event == 0 {
			event = eventAgentCost
		}
		fixed = l.rate * eventsPerFlow * (eventKernelCost + event).Seconds()
		rest = l.rest
	}
	interval := longest
	if left := p.budget - max(fixed, rest); left > 0 {
		interval = min(max(shortest, time.Duration(float64(l.dump)/left)), longest)
	}
	cost := fixed + l.dump.Seconds()/interval.Seconds()
	return pace{strategy: s, interval: interval, cost: cost, exceeded: cost > p.budget*1.0001}
}
