package backtest

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/records"
)

// The page that is judged is the one that the rules ship.
func TestShippedPage(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	if got := o.Thresholds; got.Page != detector.PageRaise || got.PageClear != detector.PageClear {
		t.Errorf("the rules raise at %v and clear at %v, the backtest at %v and %v", got.Page, got.PageClear, detector.PageRaise, detector.PageClear)
	}
	horizon, err := time.ParseDuration(o.PageHorizon)
	if err != nil || horizon != detector.PageHorizon || detector.Horizons()[pageHorizon] != horizon {
		t.Errorf("the rules page %s ahead, the backtest %s: %v", o.PageHorizon, detector.PageHorizon, err)
	}
	for _, g := range o.Groups() {
		for _, a := range g.Alerts {
			if a.Name == "SnatExhaustionPredicted" && (a.For != 0 || a.KeepFiringFor != detector.PageKeep) {
				t.Errorf("the page waits %s and is kept %s, the backtest's is kept %s", a.For, a.KeepFiringFor, detector.PageKeep)
			}
			if a.Name != "SnatExhaustionPredicted" {
				continue
			}
			want := fmt.Sprintf("[%.0fm]) >= %v", detector.PageScarceKeep.Minutes(), detector.PageClear)
			if !strings.Contains(a.Expr, want) {
				t.Errorf("the page has no %q: the backtest's stays so long while ports are scarce\n%s", want, a.Expr)
			}
		}
	}
}

// Ports are scarce to the page that is judged just where they are to the rules, as promtool works these out, around the
// border at small and large ceilings.
func TestScarceAsTheRulesSay(t *testing.T) {
	t.Parallel()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	var expr string
	recorded := false // and the page reads it
	for _, g := range rules.Default().Groups() {
		for _, r := range g.Records {
			if r.Name == records.NodeScarce {
				expr = r.Expr
			}
		}
		for _, a := range g.Alerts {
			recorded = recorded || a.Name == "SnatExhaustionPredicted" && strings.Contains(a.Expr, records.NodeScarce)
		}
	}
	if expr == "" || !recorded {
		t.Fatalf("%s is %q, and the page reads it: %v", records.NodeScarce, expr, recorded)
	}
	var series, want []map[string]any
	for _, ceiling := range []int{1, 8, 10, 81, 399, 400, 401, 1024, 64512} {
		border := int(min(detector.PageFill*float64(ceiling), float64(ceiling)-detector.PageNear*math.Sqrt(float64(ceiling))))
		for held := max(0, border-2); held <= max(border, 0)+2; held++ {
			labels := fmt.Sprintf(`{held="%d", of="%d"}`, held, ceiling)
			series = append(series,
				map[string]any{"series": "snat_busiest_ports_held" + labels, "values": fmt.Sprint(held)},
				map[string]any{"series": "snat_budget_effective_ports" + labels, "values": fmt.Sprint(ceiling)})
			if detector.PageScarce(float64(held), float64(ceiling)) {
				want = append(want, map[string]any{"labels": labels, "value": 1})
			}
		}
	}
	body, err := json.Marshal(map[string]any{"tests": []any{map[string]any{"interval": "15s", "input_series": series, "promql_expr_test": []any{
		map[string]any{"expr": "count by (held, of) (" + expr + ")", "eval_time": "0s", "exp_samples": want},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "scarce.yaml")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
