package detector

import (
	queue "container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
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

// open tries one flow of 50 ms at t. answers is false while
// the server is dead.
func (c *cloud) open(s script, t float64, answers bool) {
	c.n++
	f := flowTo(c.n, store)
	if c.held >= c.ports || !answers {
		f.State = collector.Opening
		s.open(t, f)
		c.later(t+c.patience, func() { s.close(t+c.patience, f, collector.Timeout) })
		return
	}
	c.held++
	s.open(t, f)
	c.later(t+0.05, func() { s.close(t+0.05, f, collector.FIN) })
	c.later(t+0.05+c.truth, func() { c.held-- })
}

// play opens flows at rate a second and returns after how many seconds the budget
// was first contradicted, and after how many a flow first failed; -1 for never.
func (c *cloud) play(s script, seconds, rate float64, answers func(t float64) bool) (said, failed float64) {
	said, failed = -1, -1
	for t := 1.0; t < seconds; t += c.rng.ExpFloat64() / rate {
		for len(c.todo) > 0 && c.todo[0].at <= t {
			queue.Pop(&c.todo).(item).do()
		}
		if c.held >= c.ports && failed < 0 {
			failed = t
		}
		c.open(s, t, answers(t))
		if said < 0 {
			if ok, _ := contradicted(s.accounts); ok {
				said = t
			}
		}
	}
	return said, failed
}

func coolingBudget(ports int, cool time.Duration) *Budget {
	b := testBudget(ports, cool)
	b.TCP.CoolDown[collector.Timeout] = 0
	return b
}

func always(float64) bool { return true }

func TestContradiction(t *testing.T) {
	t.Parallel()
	dead := func(from float64) func(float64) bool {
		return func(t float64) bool { return t < from }
	}
	for _, tt := range []struct {
		name     string
		believed time.Duration
		ports    int     // believed
		rate     float64 // flows a second; 4.27 fill 1024 ports of 240 s
		answers  func(t float64) bool
		want     bool
		// within is how many seconds after the first evidence it is said: after the first
		// failure, or after the believed count passes the budget where nothing failed.
		within float64
	}{
		{"240 s believed to be none", 0, 1024, 6, always, true, 600},
		{"240 s believed to be 120", 120 * time.Second, 1024, 6, always, true, 600},
		{"240 s believed to be 480", 480 * time.Second, 1024, 3.5, always, true, 600},
		{"240 s known, too many flows", 240 * time.Second, 1024, 6, always, false, 0},
		{"240 s known, nothing wrong", 240 * time.Second, 1024, 3.5, always, false, 0},
		{"half of the budget believed", 240 * time.Second, 512, 3.5, always, true, 600},
		{"twice the budget believed", 240 * time.Second, 2048, 6, always, true, 600},
		{"a dead server", 240 * time.Second, 1024, 3, dead(1200), false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, LedgerConfig{Budgets: []*Budget{coolingBudget(tt.ports, tt.believed)}})
			s.dump(0)
			c := &cloud{rng: rand.New(rand.NewPCG(7, 7)), truth: 240, ports: 1024, patience: 21}
			said, failed := c.play(s, 2400, tt.rate, tt.answers)
			if (said >= 0) != tt.want {
				_, why := contradicted(s.accounts)
				t.Log(why)
				t.Fatalf("contradicted at %v s, first failure at %v s, want contradicted %v", said, failed, tt.want)
			}
			since := failed
			if failed < 0 {
				since = float64(tt.ports) / tt.rate
			}
			if tt.want && said-since > tt.within {
				t.Errorf("said %v s after the first evidence, want at most %v", said-since, tt.within)
			}
			if snap := s.Snapshot(at(2400)); tt.want && (!snap.Budgets[0].Contradicted || snap.Budgets[0].Contradiction == "") {
				t.Error("the snapshot does not say so")
			}
		})
	}
}

// A flow that found no port says nothing of the budget when it gives up two minutes later, in a space
// that is half empty again. One that opened there and is not answered does.
func TestExhaustionIsNoContradiction(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		// from and to are the seconds at which flows open that are never answered; the space is full
		// from 600 to 720.
		from, to int
		want     bool
	}{
		{"opened while it was full", 600, 720, false},
		{"opened after", 730, 850, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const full, free, patience = 600, 720, 127
			start := collector.Time(midnight * int64(time.Second))
			b := testBudget(100, 15*time.Second)
			s := newForecaster(0).stock(b, collector.TCP, start)
			o := s.outlook(start)
			second := func(n int) collector.Interval { return moment(start.Add(time.Duration(n) * time.Second)) }
			said, opening := false, 0
			for n := 1; n < 1000; n++ {
				now := second(n)
				for range 3 {
					o.open(now)
					o.close(now, now, now.To.Add(15*time.Second), collector.FIN)
				}
				for range 50 {
					switch n {
					case full:
						o.open(now)
					case free:
						o.close(second(full), now, now.To, collector.FIN)
					}
				}
				if n >= tt.from && n < tt.to {
					o.open(now)
					opening++
				}
				if n -= patience; n >= tt.from && n < tt.to {
					o.close(second(n), now, now.To, collector.Timeout)
					opening--
				}
				n += patience
				s.tick(now.To, b)
				o.tick(conditions{Now: now.To, Opening: opening})
				said = said || s.verdict.until != 0
			}
			if said != tt.want {
				t.Errorf("contradicted %v, want %v", said, tt.want)
			}
		})
	}
}
