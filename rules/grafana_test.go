package rules_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

// The Grafana-managed rules stand on the agent's metrics alone: no recorded series and no ALERTS,
// which a server without a ruler does not have.
func TestGrafanaRulesStandAlone(t *testing.T) {
	t.Parallel()
	body, err := rules.Default().Grafana()
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../deploy/grafana/snatwatch-alerting.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(body), string(committed)); diff != "" {
		t.Errorf("stale, run go run ./cmd/snatgen (-generated +committed):\n%s", diff)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				UID, Title, Condition string
				NoDataState           string `yaml:"noDataState"`
				ExecErrState          string `yaml:"execErrState"`
				Labels                map[string]string
				Data                  []struct {
					RefID string `yaml:"refId"`
					Model struct{ Expr string }
				}
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(body, &file); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"up": true}
	for _, m := range metrics.Metrics() {
		known[string(m.Name)] = true
	}
	var titles, want []string
	uids := map[string]bool{}
	for _, r := range slices.Concat(file.Groups[0].Rules, file.Groups[1].Rules) {
		titles = append(titles, r.Title)
		if uids[r.UID] || len(r.UID) > 40 {
			t.Errorf("%s: uid %q is taken or above 40 characters", r.Title, r.UID)
		}
		uids[r.UID] = true
		expr := r.Data[0].Model.Expr
		check(t, r.Title, expr, known)
		for name, text := range r.Annotations {
			if strings.Contains(text, "$") {
				t.Errorf("%s: Grafana would expand a $ in %s: %s", r.Title, name, text)
			}
		}
		// A page that fires because its query failed is a false one.
		if page := r.Labels["severity"] == rules.Default().Critical; r.ExecErrState != map[bool]string{true: "OK", false: "Error"}[page] || r.NoDataState != "OK" {
			t.Errorf("%s: on error %s, without data %s", r.Title, r.ExecErrState, r.NoDataState)
		}
	}
	for _, a := range rules.Default().Alerts() {
		want = append(want, a.Name)
	}
	if diff := cmp.Diff(want, titles); diff != "" {
		t.Errorf("alerts (-want +got):\n%s", diff)
	}
}
