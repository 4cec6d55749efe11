package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/snatwatch/snatwatch/collector/cloud"
)

// The nodes that the API server lists move the budget. Outside a cluster, or while the server does not answer, the
// configured number or the last one that was read stands, and the budget is marked as stale.
func TestAgentFollowsNodesOfTheCluster(t *testing.T) {
	t.Parallel()
	a, _ := newQuietAgent(t, `
cloud_metadata: false
budgets:
  - {name: web, model: azure-lb-2018, nodes: 60, nodes_from: kubernetes, nodes_selector: pool=web}
`, cloud.Client{})
	for _, step := range []struct {
		name  string
		nodes int
		err   error
		ports int
		stale bool
	}{
		{"outside a cluster", 0, errors.New("no API server"), 512, true},
		{"counted", 50, nil, 1024, false},
		{"one more", 51, nil, 512, false},
		{"the server is away", 51, errors.New("connection refused"), 512, true},
		{"more than the table has", 1001, nil, 512, true},
		{"none", 0, nil, 512, true},
		{"fewer", 10, nil, 1024, false},
	} {
		a.setup.machine.CountNodes = func(_ context.Context, selector string) (int, error) {
			if selector != "pool=web" {
				t.Errorf("%s: selector %q, want pool=web", step.name, selector)
			}
			return step.nodes, step.err
		}
		if err := a.setup.lookAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.setup.mu.Lock()
		ports, stale := a.setup.seen.budgets[0].TCP.Ports, a.setup.seen.stale["web"]
		a.setup.mu.Unlock()
		if ports != step.ports || stale != step.stale {
			t.Errorf("%s: %d ports, stale %t, want %d and %t", step.name, ports, stale, step.ports, step.stale)
		}
	}
}
