package scenario

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// Who asks a load for its present does not change what becomes of it.
func TestPresentLeavesTheLoadAlone(t *testing.T) {
	t.Parallel()
	const hours = 0.5
	for _, s := range All() {
		for _, p := range Profiles() {
			want := slices.Collect(s.Generate(p, 1, hours).Flows)
			run := s.Generate(p, 1, hours)
			r := rand.New(rand.NewPCG(1, 2))
			var got []record.Flow
			for f := range run.Flows {
				got = append(got, f)
				if life, _, again := run.Present.Life(r); life < 0 || again < 0 {
					t.Fatalf("%s %s: a flow lives %v s, and comes again after %v s", s.Name, p.Name, life, again)
				}
			}
			if !slices.Equal(want, got) {
				t.Errorf("%s %s: other flows", s.Name, p.Name)
			}
			if run.Present.Rate() <= 0 {
				t.Errorf("%s %s: rate %v", s.Name, p.Name, run.Present.Rate())
			}
		}
	}
}

// A rate and a law that begin with a flow are not yet the present when that flow is read: nothing has shown them.
func TestPresentIsOfFlowsThatCame(t *testing.T) {
	t.Parallel()
	const seconds, change = 200, 100.0
	l := &load{profile: Profiles()[1], seconds: seconds, r: rand.New(rand.NewPCG(1, 2))}
	after := func(at float64) float64 {
		if at < change {
			return 1
		}
		return 2
	}
	l.share = func(at float64) float64 { return 0.3 * after(at) }
	l.life = func(at float64) (float64, collector.Reason) { return after(at), collector.FIN }
	run := l.run()
	before, flows := -1.0, 0
	for f := range run.Flows {
		at := f.Start.Sub(run.From).Seconds()
		rate, want := run.Present.Rate(), 0.0
		if before >= 0 {
			want = l.rate(l.share(before))
			if life, _, _ := run.Present.Life(l.r); life != after(before) {
				t.Fatalf("flow at %.3f s: the present life is %v s, the flow before it, of %.3f s, lived %v s", at, life, before,
					after(before))
			}
		}
		if rate != want {
			t.Fatalf("flow at %.3f s: the present rate is %v, want that of the flow before it, of %.3f s: %v", at, rate, before,
				want)
		}
		before = at
		flows++
	}
	if flows < seconds {
		t.Fatalf("%d flows", flows)
	}
}
