package measured

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/internal/plan"
)

// agent serves the snapshot of the API's tests, changed.
func agent(t *testing.T, change func(map[string]any)) string {
	t.Helper()
	text, err := os.ReadFile("../../web/testdata/snapshot.json")
	if err != nil {
		t.Fatal(err)
	}
	var snapshot map[string]any
	if err := json.Unmarshal(text, &snapshot); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(snapshot)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(snapshot)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// at walks into JSON by keys and indexes.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			v = v.(map[string]any)[p]
		case int:
			v = v.([]any)[p]
		}
	}
	return v
}

func TestFromAgent(t *testing.T) {
	t.Parallel()
	in, err := FromAgent(t.Context(), agent(t, nil), "web")
	if err != nil {
		t.Fatal(err)
	}
	d := &in.Demand
	// The snapshot: 967 ports held to 203.0.113.7:443, 31.19 opens/s, a mean hold of 31 s, no cool-down; the next one holds 251.
	if d.Destination != "203.0.113.7:443" || math.Abs(d.Rate-31.19) > 0.01 || math.Abs(d.Lifetimes.Mean()-31) > 0.01 || math.Abs(d.Next-251.0/967) > 1e-6 {
		t.Errorf("%+v; want 31.19 opens/s to 203.0.113.7:443, held 31 s", d)
	}
	if in.Nodes != 48 || in.Budget.Model != "azure-lb-2018" || in.Budget.VIPCount != 1 || d.Cut {
		t.Errorf("%+v; want 48 nodes under azure-lb-2018 with one VIP, below the ceiling", in)
	}
	p, err := plan.Make(in)
	if err != nil || math.Abs(p.Today.Load-967) > 1 {
		t.Errorf("plan %+v, error %v; want a load of 967", p, err)
	}
	if !strings.Contains(strings.Join(p.Notes, "\n"), "of this moment") {
		t.Errorf("notes %q do not say that this is one moment", p.Notes)
	}
}

// Of several budgets the fullest is planned for, and that is said: an agent without a config has one for what its machine
// translates and one for the machine itself.
func TestFromAgentTakesTheFullest(t *testing.T) {
	t.Parallel()
	url := agent(t, func(s map[string]any) {
		var local map[string]any
		text, err := json.Marshal(at(s, "budgets", 0))
		if err == nil {
			err = json.Unmarshal(text, &local)
		}
		if err != nil {
			t.Fatal(err)
		}
		local["name"] = "local"
		at(local, "protocols", 0).(map[string]any)["busiest_held"] = 12
		s["budgets"] = []any{local, at(s, "budgets", 0)}
	})
	in, err := FromAgent(t.Context(), url, "")
	if err != nil || in.Budget.Name != "web" || !strings.Contains(strings.Join(in.Notes, "\n"), "budgets local, web: this is of web, the fullest") {
		t.Errorf("budget %q, notes %q, error %v; want web, and a note that says so", in.Budget.Name, in.Notes, err)
	}
}

// A plan is of the ports from 1024 up: those below are port spaces of their own, which more of them do not help.
func TestFromAgentLeavesLowPortsOut(t *testing.T) {
	t.Parallel()
	in, err := FromAgent(t.Context(), agent(t, func(s map[string]any) {
		at(s, "budgets", 0, "protocols", 0, "spaces", 0).(map[string]any)["ports"] = 511
	}), "web")
	if err != nil || in.Demand.Destination != "203.0.113.8:443" {
		t.Errorf("the plan is of %s, error %v; want the next-fullest, 203.0.113.8:443", in.Demand.Destination, err)
	}
}

func TestFromAgentRefuses(t *testing.T) {
	t.Parallel()
	spaces := func(s map[string]any) []any {
		return at(s, "budgets", 0, "protocols", 0, "spaces").([]any)
	}
	for _, tt := range []struct {
		name, budget string
		change       func(map[string]any)
		want         string
	}{
		{"not ready", "web", func(s map[string]any) { s["ready"] = false }, "has not seen a complete dump"},
		{"no such budget", "none", nil, `no TCP budget "none"`},
		{"no budget", "", func(s map[string]any) { s["budgets"] = []any{} }, "has no TCP budget"},
		{"no flow yet", "web", func(s map[string]any) { at(s, "budgets", 0, "protocols", 0).(map[string]any)["spaces"] = []any{} }, "no flow of this budget"},
		{"nothing held", "web", func(s map[string]any) {
			for _, x := range spaces(s) {
				x.(map[string]any)["held"] = 0
			}
		}, "no port is held"},
		{"no flow has ended", "web", func(s map[string]any) {
			for _, x := range spaces(s) {
				x.(map[string]any)["mean_hold_seconds"] = nil
			}
		}, "hold times are not known"},
		{"no lifetimes", "web", func(s map[string]any) {
			at(s, "budgets", 0, "protocols", 0).(map[string]any)["lifetime_seconds"] = map[string]any{"bounds": []int{1}, "counts": []int{0, 0}}
		}, "no lifetimes"},
		{"no ports", "web", func(s map[string]any) { at(s, "budgets", 0, "terms", 0).(map[string]any)["ports"] = 0 }, "no TCP ports"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if in, err := FromAgent(t.Context(), agent(t, tt.change), tt.budget); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, error %v; want %q", in, err, tt.want)
			}
		})
	}
}
