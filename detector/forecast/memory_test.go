package forecast

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// node is a forecaster of one budget and one port space, as a ledger drives it.
type node struct {
	f   *Forecaster
	b   *budget.Budget
	s   *Account
	o   *Outlook // nil until a flow is met
	now float64  // second
}

func nodeName() SpaceName {
	return SpaceName{Budget: "test", Destination: "203.0.113.7:443", Protocol: collector.TCP}
}

func newNode(cool time.Duration, seconds float64) *node {
	n := &node{f: NewForecaster(0), b: testBudget(100, cool), now: seconds}
	n.s = n.f.Account(n.b, collector.TCP, at(seconds))
	return n
}

// met makes the outlook of the port space, which had its first flow, with the memory that a state has of it.
func (n *node) met() {
	if n.o == nil {
		n.o = n.s.Outlook(at(n.now))
		if n.f.Remembers(0) {
			n.f.Claim(n.o, nodeName(), at(n.now))
		}
	}
}

func (n *node) open(seconds float64) {
	n.now = seconds
	n.met()
	n.s.Opened(exactly(seconds))
	n.o.Open(exactly(seconds))
}

func (n *node) close(opened, ended float64) {
	n.s.Closed(exactly(opened), exactly(ended), collector.FIN)
	n.o.Close(exactly(opened), exactly(ended), at(ended).Add(n.b.TCP.CoolDown[collector.FIN]), collector.FIN)
}

func (n *node) tick(seconds float64) {
	n.now = seconds
	n.s.Tick(at(seconds), n.b)
	if n.o != nil {
		n.o.Tick(Conditions{Now: at(seconds)})
	}
}

// feed opens a flow a second for some seconds; each lives 20 s.
func (n *node) feed(from, seconds float64) {
	for x := 1.0; x <= seconds; x++ {
		n.open(from + x)
		if x > 20 {
			n.close(from+x-20, from+x)
		}
		n.tick(from + x)
	}
}

// state is what n learned until now, of three port spaces at most.
func (n *node) state() []byte {
	var spaces []Known
	if n.o != nil {
		spaces = append(spaces, Known{nodeName(), n.o})
	}
	return n.f.AppendState(nil, at(n.now), spaces, 3)
}

// again restarts n at the given second.
func (n *node) again(t testing.TB, seconds float64) *node {
	t.Helper()
	st, err := ReadState(n.state(), at(seconds))
	if err != nil {
		t.Fatal(err)
	}
	r := newNode(n.b.TCP.CoolDown[collector.FIN], seconds)
	r.f.Restore(&st, at(seconds))
	return r
}

// learned saw twenty minutes of flows of some seconds.
func learned() *node {
	n := newNode(15*time.Second, 0)
	n.feed(0, 1200)
	return n
}

// After a restart a minute long the hold times are there at once.
func TestStateBringsHoldTimesBack(t *testing.T) {
	t.Parallel()
	restored, fresh := learned().again(t, 1260), newNode(15*time.Second, 1260)
	restored.feed(1260, 10)
	fresh.feed(1260, 10)
	survive := func(n *node) float32 { return n.o.times.survive[ageBucket(12)] }
	if got := survive(restored); got < 0.9 {
		t.Errorf("restored: %.2f of the flows outlive 11 s, want nearly all", got)
	}
	if got := survive(fresh); got > 0.9 {
		t.Errorf("without a state: %.2f of the flows outlive 11 s; nothing can be known yet", got)
	}
}

// A second restart does not take what the first brought back, whether the port space was met in between
// or not; six hours do.
func TestStateOutlivesRestarts(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		between  func(n *node)
		restarts []float64 // seconds
		known    bool
	}{
		{"nothing happens", func(*node) {}, []float64{1260, 1320}, true},
		{"time passes", func(n *node) { n.tick(n.now + 600) }, []float64{1260, 1920, 2580}, true},
		{"the port space is met and not yet forecast", func(n *node) { n.open(1260) }, []float64{1260, 1260.5}, true},
		{"five hours", func(*node) {}, []float64{1260, 1200 + 5*3600}, true},
		{"over six hours", func(*node) {}, []float64{1260, 1200 + 3*3600, 1230 + 6*3600}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			n := learned()
			for _, x := range tt.restarts {
				n = n.again(t, x)
				tt.between(n)
			}
			now := tt.restarts[len(tt.restarts)-1] + 700
			n.open(now)
			if known := n.o.speeds[hour].ended != (occurrence{}).ended; known != tt.known {
				t.Errorf("lifetimes known: %v, want %v", known, tt.known)
			}
			if tt.known && now-n.o.began+at(0).Seconds() < 1000 {
				t.Errorf("it is %v s old, want over 1000", now-n.o.began+at(0).Seconds())
			}
		})
	}
}

// Memories age by how long ago they were made, however often they were written in between.
func TestStateAgesMemories(t *testing.T) {
	t.Parallel()
	fade := func(restarts ...float64) float32 {
		n := learned()
		for _, x := range restarts {
			n = n.again(t, x)
		}
		for _, v := range n.f.saved {
			m := v.until(at(n.now))
			return m.speeds[hour].lived[0]
		}
		t.Fatal("nothing was restored")
		return 0
	}
	if once, thrice := fade(5000), fade(1300, 2500, 5000); once != thrice {
		t.Errorf("%v after three restarts, want %v as after one", thrice, once)
	}
}

// What is kept of port spaces is bounded by how many may be forecast.
func TestStateIsBounded(t *testing.T) {
	t.Parallel()
	n := learned().again(t, 1260)
	for i, destination := range []string{"a", "b", "c", "d", "e"} {
		v := *n.f.saved[nodeName()]
		v.Destination, v.at = destination, at(1000+float64(i))
		n.f.saved[v.SpaceName] = &v
	}
	var got []string
	for name := range n.again(t, 1300).f.saved {
		got = append(got, name.Destination)
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{nodeName().Destination, "d", "e"}, got); diff != "" {
		t.Errorf("the youngest three (-want +got)\n%s", diff)
	}
}

// The fill is averaged from what is held after a restart on, not from nothing.
func TestStateKeepsTheFill(t *testing.T) {
	t.Parallel()
	n := newNode(0, 0)
	for x := 1.0; x <= 600; x++ {
		n.open(x)
		n.close(x, x+0.5)
		n.tick(x + 0.9)
	}
	n = n.again(t, 660)
	n.now = 670
	for range 20 {
		n.met()
		n.s.Opened(collector.Interval{To: at(670)})
		n.o.Open(collector.Interval{To: at(670)})
	}
	n.tick(670)
	n.tick(672)
	if n.o.began >= at(660).Seconds() {
		t.Error("nothing was restored")
	}
	if n.o.fillLately != 20 {
		t.Errorf("the fill is %.1f on average, want the 20 ports that are held", n.o.fillLately)
	}
}
