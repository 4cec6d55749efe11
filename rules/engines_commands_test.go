package rules_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/plan/measured"
	"github.com/snatwatch/snatwatch/internal/remote"
	"github.com/snatwatch/snatwatch/internal/top"
)

// compareCommands reports what plan --prometheus and top --prometheus read of one engine otherwise than of another. Rates may be a
// tenth apart: their windows are longer than what was seen, where Prometheus extrapolates and VictoriaMetrics does not.
func compareCommands(t *testing.T, a, b *engine) {
	t.Helper()
	want, got := planOf(t, a), planOf(t, b)
	for name, v := range map[string][2]float64{
		"nodes":    {float64(want.Nodes), float64(got.Nodes)},
		"VIPs":     {float64(want.Budget.VIPCount), float64(got.Budget.VIPCount)},
		"rate":     {want.Demand.Rate, got.Demand.Rate},
		"lifetime": {want.Demand.Lifetimes.Mean(), got.Demand.Lifetimes.Mean()},
	} {
		if v[0] == 0 || math.IsNaN(v[0]) || !(math.Abs(v[1]/v[0]-1) < 0.1) {
			t.Errorf("plan: %s is %g of %s, %g of %s", name, v[0], a.name, v[1], b.name)
		}
	}
	if want.Budget.Model != got.Budget.Model || want.Demand.Destination != got.Demand.Destination {
		t.Errorf("plan: %s, %s of %s; %s, %s of %s", want.Budget.Model, want.Demand.Destination, a.name,
			got.Budget.Model, got.Demand.Destination, b.name)
	}
	if diff := cmp.Diff(topOf(t, a), topOf(t, b)); diff != "" {
		t.Errorf("top (-%s +%s):\n%s", a.name, b.name, diff)
	}
}

func planOf(t *testing.T, e *engine) plan.Input {
	t.Helper()
	in, err := measured.FromPrometheus(t.Context(), asked(t, e), measured.Fleet{Budget: "lb", Range: time.Hour, Now: time.Now()})
	if err != nil {
		t.Fatalf("%s: plan: %v", e.name, err)
	}
	return in
}

func topOf(t *testing.T, e *engine) []top.Row {
	t.Helper()
	table, err := top.FromPrometheus(asked(t, e))(t.Context())
	if err != nil {
		t.Fatalf("%s: top: %v", e.name, err)
	}
	if len(table.Rows) < engineNodes || len(table.Notes) > 0 {
		t.Errorf("%s: top has %d rows, notes %q", e.name, len(table.Rows), table.Notes)
	}
	top.Sort(table.Rows, top.ByLeft)
	return table.Rows
}

func asked(t *testing.T, e *engine) *remote.Prometheus {
	t.Helper()
	p, err := remote.NewPrometheus(e.query)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
