package dashboards_test

import (
	"maps"
	"os"
	"slices"
	"testing"
	"time"
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
		for _, name := range slices.Sorted(maps.Keys(load(t))) {
			b := load(t)[name]
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

// single is the node whose board is looked at: the one that is full.
func (b board) single(f *fleet) string {
	if b.UID != "snatwatch-node" {
		return ""
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
