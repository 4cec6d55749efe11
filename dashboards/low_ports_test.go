package dashboards_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/rules/alerts"
)

// The 470 ports below 512 that a node may hold to a destination are all held, beside 2,950 of 59,000 others: what is
// shown of that port space is of its own ports.
func TestFillOfLowPortsIsOfTheirOwn(t *testing.T) {
	t.Parallel()
	path := kerneltest.Program(t, "promtool", "prometheus")
	const target = `cluster="a", instance="n", job="s", budget="nat"`
	const agent = target + `, protocol="tcp"`
	const low = agent + `, vip="ports 1-511", destination="d"`
	full := map[string]string{
		`snat_budget_info{` + target + `, model="linux", pool="web", scope="node"}`:      "1x40",
		`snat_budget_effective_ports{` + agent + `}`:                                     "59000x40",
		`snat_busiest_ports_held{` + agent + `}`:                                         "2950x40",
		`snat_ports_held{` + agent + `, destination="d"}`:                                "2950x40",
		`snat_ports_held{` + low + `}`:                                                   "470x40",
		`snat_low_ports_fill_ratio{` + low + `}`:                                         "1x40",
		`snat_exhaustion_probability_max{` + agent + `, horizon="5m"}`:                   "1x40",
		`snat_soonest_exhaustion_seconds{` + low + `}`:                                   "0x40",
		`snat_pool_nodes_to_next_tier{cluster="a", instance="n", job="s", budget="nat"}`: "1x40",
	}
	none := maps.Clone(full)
	delete(none, `snat_low_ports_fill_ratio{`+low+`}`)
	const node, pool = `{budget="nat", cluster="a", instance="n", job="s", protocol="tcp"}`,
		`{budget="nat", cluster="a", pool="web", protocol="tcp"}`
	const space, others = `{budget="nat", cluster="a", destination="d", instance="n", job="s", protocol="tcp", vip="ports 1-511"}`,
		`{budget="nat", cluster="a", destination="d", instance="n", job="s", protocol="tcp"}`
	for _, tt := range []struct {
		name, board, ref string
		panel            int
		series           map[string]string
		want             samples
	}{
		{"what is full", "overview", "A", 14, full, samples{"{}": 1}},
		{"what is full without low ports", "overview", "A", 14, none, samples{"{}": 0}},
		{"the first", "overview", "C", 21, full, samples{space: 1}},
		{"the first without low ports", "overview", "C", 21, none, samples{space: 0.05}},
		{"pools over time", "overview", "A", 22, full, samples{pool: 1}},
		{"pools over time without low ports", "overview", "A", 22, none, samples{pool: 0.05}},
		{"nodes over time", "overview", "A", 23, full, samples{node: 1}},
		{"pools now", "fleet", "D", 46, full, samples{pool: 1}},
		{"each port space", "node", "A", alerts.PanelNodeHeld, full, samples{space: 1, others: 0.05}},
		{"each port space's row", "node", "C", 115, full, samples{space: 1, others: 0.05}},
		{"the ceiling of the fullest", "node", "E", 111, full, samples{"{}": 470}},
		{"the ceiling of all others", "node", "E", 111, none, samples{"{}": 59000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			for _, p := range load(t)["snatwatch-"+tt.board+".json"].Panels {
				for _, x := range p.Targets {
					if p.ID == tt.panel && x.RefID == tt.ref {
						asked++
						// The order of or tells where a series has a name: it is not shown.
						expr := `label_replace(round(` + all(strings.ReplaceAll(x.Expr, "$__range", "9m")) + `, 1e-6), "__name__", "", "", "")`
						answers(t, path, expr, "15s", "9m", tt.series, tt.want)
					}
				}
			}
			if asked != 1 {
				t.Errorf("%d queries %s of panel %d", asked, tt.ref, tt.panel)
			}
		})
	}
}
