package dashboards_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/dashboards"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/records"
)

// most is the number of series that a reader can tell apart in one panel.
const most = 20

// mostBytes is how much the answers to all queries of a board may be.
const mostBytes = 200_000

// At every size of a fleet each query of each board is answered, and no panel shows more series than can be told apart.
func TestPanelsOfFleets(t *testing.T) {
	t.Parallel()
	for _, f := range fleets() {
		a := serve(t, program(t), f)
		for _, name := range slices.Sorted(maps.Keys(looked(t))) {
			b := looked(t)[name]
			a.open(t, b, b.single(f))
			var bytes int
			var all time.Duration
			for _, p := range b.Panels {
				n, size := 0, 0
				var took time.Duration
				for i := range p.Targets {
					series, s, d := a.ask(t, p, i, b.single(f))
					n, size, took = max(n*map[bool]int{true: 1}[p.Type != "table"]+len(series), n), size+s, took+d
				}
				bytes, all = bytes+size, all+took
				if b.UID == "snatwatch-node" && p.Type != "row" && n == 0 {
					t.Errorf("%d nodes: %s: nothing of node %s", f.nodes, p.Title, b.single(f))
				}
				if p.Type != "heatmap" && p.Type != "row" && n > most {
					t.Errorf("%d nodes: %s: %s: %d series, want at most %d", f.nodes, name, p.Title, n, most)
				}
				t.Logf("%4d nodes %-24s %4d %-60s %3d series %6d bytes %5.0f ms", f.nodes, b.UID, p.ID, p.Title, n, size, took.Seconds()*1000)
			}
			t.Logf("%4d nodes %-24s %d bytes %.0f ms", f.nodes, b.UID, bytes, all.Seconds()*1000)
			if bytes > mostBytes {
				t.Errorf("%d nodes: %s: %d bytes of answers, want at most %d", f.nodes, name, bytes, mostBytes)
			}
		}
	}
}

// What is made up as recorded is what the rules make of the made-up nodes, in a real Prometheus at the moment of
// looking. Gateways are made up on their own: their nodes' ports do not add up to them.
func TestFleetIsRecordedAsRulesDo(t *testing.T) {
	t.Parallel()
	f := &fleet{nodes: 30, destinations: 2, every: 15 * time.Second}
	a := serve(t, program(t), f)
	compared := 0
	for _, g := range rules.Default().Groups() {
		for _, r := range g.Records {
			if !strings.HasPrefix(r.Name, "pool:") && r.Name != records.NodeFill {
				continue
			}
			want := a.now(t, r.Expr)
			for labels, got := range a.now(t, r.Name) {
				compared++
				if w, ok := want[labels]; !ok || math.Abs(got-w) > 0.02*math.Abs(w)+0.01 {
					t.Errorf("%s%s is made up as %g, the rule says %g (%v)", r.Name, labels, got, w, ok)
				}
			}
		}
	}
	if compared < 50 {
		t.Errorf("only %d series compared", compared)
	}
}

// now is what an instant query returns at fleetEnd, by labels.
func (a *asked) now(t *testing.T, expr string) map[string]float64 {
	t.Helper()
	series, _, _ := a.ask(t, panel{Title: expr, Targets: []target{{Expr: expr, Instant: true}}}, 0, "")
	out := map[string]float64{}
	for _, s := range series {
		delete(s.Metric, "__name__")
		out[fmt.Sprint(s.Metric)], _ = s.last()
	}
	return out
}

// single is the node whose board is looked at: one that is full, or in a middle-sized fleet one with an address of IPv6.
func (b board) single(f *fleet) string {
	switch {
	case b.UID != "snatwatch-node":
		return ""
	case f.nodes == 30:
		return f.node(4).instance
	}
	return f.node(0).instance
}

// fleets are of 1 node and of 30, and of 1,000 where SNATWATCH_FLEET=1000 asks for what takes minutes.
func fleets() []*fleet {
	out := []*fleet{{nodes: 1, destinations: 12, every: 15 * time.Second}, {nodes: 30, destinations: 12, every: 15 * time.Second}}
	if os.Getenv("SNATWATCH_FLEET") == "1000" {
		out = append(out, &fleet{nodes: 1000, destinations: 50, every: 15 * time.Second})
	}
	return out
}

// Agents tell the urgency of the page at one horizon alone. With another the probability raises the page, and the board of a node
// says so.
func TestBoardsSayWhatRaisesThePage(t *testing.T) {
	t.Parallel()
	for horizon, want := range map[string]string{
		"5m":  "The page is raised when its urgency is at the red line: the probability within 5m, less",
		"15m": "The page is raised when the probability within 15m is at the red line. It",
	} {
		o := rules.Default()
		o.PageHorizon = horizon
		files, err := dashboards.Files(o)
		if err != nil {
			t.Fatal(err)
		}
		node := string(files["snatwatch-node.json"])
		if !strings.Contains(node, want) {
			t.Errorf("%s: the board of a node does not say %q", horizon, want)
		}
		for _, urgency := range regexp.MustCompile(`snat_page_urgency\{[^}]*\}`).FindAllString(node, -1) {
			if !strings.Contains(urgency, `horizon=\"`+horizon+`\"`) {
				t.Errorf("%s: the board of a node shows %s, which does not raise the page", horizon, urgency)
			}
		}
	}
}
