package budget_test

import (
	"testing"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// The edges of the table, on both sides of each.
func TestTableEdges(t *testing.T) {
	t.Parallel()
	type edge struct{ Ports, ToNext, Next int }
	tests := []struct {
		model       string
		nodes, vips int
		want        edge
	}{
		{"azure-lb", 1, 1, edge{1024, 49, 512}},
		{"azure-lb", 48, 1, edge{1024, 2, 512}},
		{"azure-lb", 50, 1, edge{1024, 0, 512}},
		{"azure-lb", 51, 1, edge{512, 49, 256}},
		{"azure-lb", 100, 1, edge{512, 0, 256}},
		{"azure-lb", 101, 1, edge{256, 99, 128}},
		{"azure-lb", 200, 1, edge{256, 0, 128}},
		{"azure-lb", 201, 1, edge{128, 199, 64}},
		{"azure-lb", 400, 1, edge{128, 0, 64}},
		{"azure-lb", 401, 1, edge{64, 399, 32}},
		{"azure-lb", 800, 1, edge{64, 0, 32}},
		{"azure-lb", 801, 1, edge{32, 199, 0}},
		{"azure-lb", 1000, 1, edge{32, 0, 0}},
		// The cap hides the edge at 50, with four VIPs that at 100 too.
		{"azure-lb", 40, 2, edge{1024, 60, 512}},
		{"azure-lb", 40, 3, edge{1024, 60, 768}},
		{"azure-lb", 40, 4, edge{1024, 160, 512}},
		{"azure-lb", 900, 32, edge{1024, 100, 0}},
		{"azure-lb-2018", 50, 2, edge{2048, 0, 1024}},
		{"azure-lb-2018", 51, 2, edge{1024, 49, 512}},
		{"azure-lb-2018", 1000, 64, edge{2048, 0, 0}},
	}
	for _, tt := range tests {
		b, err := budget.Resolve(budget.Params{Model: tt.model, Nodes: tt.nodes, VIPCount: tt.vips})
		if err != nil {
			t.Errorf("%s, %d nodes, %d VIPs: %v", tt.model, tt.nodes, tt.vips, err)
			continue
		}
		if got := (edge{b.TCP.Ports, b.NodesToNextTier, b.NextTierPorts}); got != tt.want {
			t.Errorf("%s, %d nodes, %d VIPs: %+v, want %+v", tt.model, tt.nodes, tt.vips, got, tt.want)
		}
	}
}
