package dashboards_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// manyClusters is a fleet of more clusters, pools and gateways than any panel shows.
func manyClusters() *fleet {
	return &fleet{nodes: 200, destinations: 2, clusters: 20, every: 15 * time.Second}
}

// shown is what each query of a board answers, by the panel's title and the query's letter.
func (a *asked) shown(t *testing.T, b board) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, p := range b.Panels {
		for i, x := range p.Targets {
			series, _, _ := a.ask(t, p, i, b.single(manyClusters()))
			out[fmt.Sprintf("%s: %s", p.Title, x.RefID)] = rounded(series)
		}
	}
	return out
}

// unlike says where less is not what more is. A table of pools has a row for each that is called as one of the worst,
// so of those less may lack some that are not of the worst.
func unlike(b board, more, less map[string]string) string {
	for _, p := range b.Panels {
		for _, x := range p.Targets {
			key := fmt.Sprintf("%s: %s", p.Title, x.RefID)
			if rows := strings.Split(more[key], "\n"); p.Type == "table" && strings.Contains(x.Expr, "_pools|") &&
				(less[key] != "" || more[key] == "") {
				more[key] = strings.Join(slices.DeleteFunc(rows, func(row string) bool {
					return !slices.Contains(strings.Split(less[key], "\n"), row)
				}), "\n")
			}
		}
	}
	return cmp.Diff(more, less)
}

// The names in variables that nobody sees make queries read less, and change nothing that is shown: a panel shows the
// same where they stand for every name. So it is where no cluster has a name.
func TestHiddenNamesChangeNothing(t *testing.T) {
	t.Parallel()
	for _, f := range []*fleet{manyClusters(), {nodes: 20, destinations: 2, clusters: 1, every: 15 * time.Second}} {
		a := serve(t, program(t), f)
		for _, name := range []string{"snatwatch-fleet.json", "snatwatch-overview.json", "snatwatch-agent.json"} {
			b := load(t)[name]
			every, few := []string{}, map[string]string{}
			a.open(t, b, "")
			for _, v := range b.Templating.List {
				if v.Hide == hidden {
					every = append(every, v.Name, ".*")
					few[v.Name] = a.all[v.Name]
				}
			}
			got := a.shown(t, b)
			a.open(t, b, "", every...)
			if diff := unlike(b, a.shown(t, b), got); diff != "" {
				t.Errorf("%d clusters: %s with %v (-of every name +of those):\n%s", f.clusters, name, few, diff)
			}
			// Or else nothing was narrowed.
			if names := few["fullest_pools"]; f.clusters > 1 && name == "snatwatch-overview.json" &&
				(!strings.Contains(names, "web") || strings.Contains(names, "c10")) {
				t.Errorf("the fullest pools are %s, want pools and some of the clusters", names)
			}
			if names := few["slow_clusters"]; f.clusters == 1 && name == "snatwatch-overview.json" && names != "()" {
				t.Errorf("the slow clusters are %s, want none", names)
			}
		}
	}
}

// Boards of the folder that SNATWATCH_BOARDS names show what these show, panel by panel: for who makes queries cheaper.
func TestBoardsShowWhatOthersShow(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("SNATWATCH_BOARDS")
	if dir == "" {
		t.Skip("SNATWATCH_BOARDS names no folder of boards to compare with")
	}
	a := serve(t, program(t), manyClusters())
	others := read(t, dir)
	for _, name := range slices.Sorted(maps.Keys(others)) {
		if load(t)[name].UID == "" {
			t.Fatalf("no board is called %s", name)
		}
		one := others[name].single(manyClusters())
		a.open(t, others[name], one)
		want := a.shown(t, others[name])
		a.open(t, load(t)[name], one)
		if diff := unlike(load(t)[name], want, a.shown(t, load(t)[name])); diff != "" {
			t.Errorf("%s (-other +this):\n%s", name, diff)
		}
	}
}

// What is recorded of a gateway is shown where a chosen node is behind it, although no recorded series names a node, a
// pool or a job.
func TestGatewaysAreOfChosenNodes(t *testing.T) {
	t.Parallel()
	f := &fleet{nodes: 30, destinations: 2, every: 15 * time.Second}
	a := serve(t, program(t), f)
	b := load(t)["snatwatch-overview.json"]
	behind, beside := "", ""
	for i := range f.nodes {
		if n := f.node(i); n.share != "" {
			behind = n.instance
		} else {
			beside = n.instance
		}
	}
	for _, tt := range []struct {
		name, variable, value string
		shown                 bool
	}{
		{"all", "pool", ".*", true},
		{"a node behind it", "instance", behind, true},
		{"another node", "instance", beside, false},
		{"a pool behind it", "pool", "batch", true},
		{"another pool", "pool", "web", false},
		{"the agents' job", "job", "snatwatch", true},
		{"another job", "job", "node", false},
	} {
		a.open(t, b, "", tt.variable, tt.value)
		for _, p := range b.Panels {
			i := map[int]int{11: 1, 12: 1, 14: 1}[p.ID]
			if i == 0 {
				continue
			}
			series, _, _ := a.ask(t, p, i, "")
			if got := len(series) > 0; got != tt.shown {
				t.Errorf("%s: %s: of a gateway: %v, want %v", tt.name, p.Title, got, tt.shown)
			}
		}
	}
}
