package scenario

import (
	"math/rand/v2"
	"slices"
	"testing"

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
