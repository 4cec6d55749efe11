package scenario

import (
	"container/heap"
	"iter"
	"math"
	"math/rand/v2"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// Budget is the nominal budget, and the effective ceiling, of every scenario
// but the one that crosses a tier.
const Budget = 1024

// load is what a scenario's plan makes of one profile and seed. Times are
// seconds since the start.
type load struct {
	profile Profile
	seconds float64
	r       *rand.Rand

	// share of the budget that would be held if flows went on being opened as at t
	// and lived as the profile says.
	share func(t float64) float64
	// life returns how long a flow opened at t lives, and why it ends.
	life func(t float64) (float64, collector.Reason)
	// retry returns when a flow that ended at t after so many attempts is tried again.
	retry func(t float64, reason collector.Reason, attempts int) (float64, bool)
	// batches are opened beside, in order of time.
	batches []batch
	changes []record.Change
	// coolDown overrides the profile's cool-down for some reasons.
	coolDown map[collector.Reason]time.Duration
	// protocol is TCP unless it is set.
	protocol collector.Protocol
	// destination of a flow that opens at t, of so many destinations; nil for a single one.
	destination  func(t float64) int32
	destinations int
	restarts     []Restart
	present      Present
}

// batch is flows that are opened within a short time.
type batch struct {
	at, over float64
	flows    int
	// life of its flows, if they do not live like others.
	life func(t float64) (float64, collector.Reason)
}

// Run is what a replay reads of a scenario.
type Run struct {
	record.Source
	// CoolDown by reason.
	CoolDown [collector.NumReasons]time.Duration
	Protocol collector.Protocol
	// Destinations is how many there are; the first is the one that something happens to.
	Destinations int
	Restarts     []Restart
	Present      *Present
}

// Restart is a start of the agent while flows are open.
type Restart struct {
	At collector.Time
	// State says that it finds the state of half a minute before.
	State bool
}

// rate turns a share of the budget into opens per second.
func (l *load) rate(share float64) float64 {
	return share * Budget / (l.profile.life.mean() + l.profile.CoolDown.Seconds())
}

// run returns the load as a replay reads it. Its flows can be read once.
func (l *load) run() *Run {
	r := &Run{
		Source: record.Source{Flows: l.flows(), Changes: l.changes, From: record.Epoch, To: record.Epoch +
			record.Seconds(l.seconds)},
		Protocol:     max(l.protocol, collector.TCP),
		Destinations: max(1, l.destinations),
		Restarts:     l.restarts,
		Present:      &l.present,
	}
	l.present.load = l
	for reason := range r.CoolDown {
		r.CoolDown[reason] = l.profile.CoolDown
	}
	for reason, d := range l.coolDown {
		r.CoolDown[reason] = d
	}
	return r
}

// flows yields the flows in order of start. Opens are a Poisson process whose
// rate is constant within each second.
func (l *load) flows() iter.Seq[record.Flow] {
	return func(yield func(record.Flow) bool) {
		var again attempts // batches and retries to come
		rate := 0.0        // opens a second
		open := func(t float64, attempt int, lives func(t float64) (float64, collector.Reason)) bool {
			l.present.read(t, rate)
			life, reason := lives(t)
			if l.retry != nil {
				if at, ok := l.retry(t+life, reason, attempt); ok {
					heap.Push(&again, attempted{at, attempt + 1, lives})
				}
			}
			start := record.Epoch + record.Seconds(t)
			f := record.Flow{
				Start: start, End: start + record.Seconds(life), Protocol: max(l.protocol, collector.TCP),
				Reason: reason,
			}
			if l.destination != nil {
				f.Destination = l.destination(t)
			}
			return yield(f)
		}
		batches := l.batches
		need := l.r.ExpFloat64() // of a Poisson process with rate 1, until its next event
		for second := 0.0; second < l.seconds; second++ {
			batches = l.begin(batches, second+1, &again)
			t := second
			rate = l.rate(l.share(second))
			for {
				next := math.Inf(1)
				if rate > 0 {
					next = t + need/rate
				}
				if len(again) > 0 && again[0].at < min(next, second+1) {
					a := heap.Pop(&again).(attempted)
					at := max(a.at, t)
					need, t = need-(at-t)*rate, at
					if !open(at, a.attempt, a.life) {
						return
					}
					continue
				}
				if next >= second+1 {
					need -= (second + 1 - t) * rate
					break
				}
				t, need = next, l.r.ExpFloat64()
				if !open(t, 1, l.life) {
					return
				}
			}
		}
	}
}

// begin puts the opens of the batches that begin before until on the heap, and returns the batches that are left.
func (l *load) begin(batches []batch, until float64, to *attempts) []batch {
	for len(batches) > 0 && batches[0].at < until {
		b := batches[0]
		if b.life == nil {
			b.life = l.life
		}
		for range b.flows {
			heap.Push(to, attempted{b.at + b.over*l.r.Float64(), 1, b.life})
		}
		batches = batches[1:]
	}
	return batches
}

// attempts is a heap of opens to come.
type attempts []attempted

type attempted struct {
	at      float64
	attempt int
	life    func(t float64) (float64, collector.Reason)
}

func (a attempts) Len() int           { return len(a) }
func (a attempts) Less(i, j int) bool { return a[i].at < a[j].at }
func (a attempts) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *attempts) Push(x any)        { *a = append(*a, x.(attempted)) }
func (a *attempts) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}
