package plan

import (
	"testing"

	"github.com/snatwatch/snatwatch/detector/budget"
)

// No plan asks for more VIPs than the provider gives: a load of a hundred thousand opens a second wanted 22,617.
func TestPlanWithinWhatProvidersGive(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		model string
		vips  int
	}{{"azure-lb", 600}, {"gcp-nat-static", 300}} {
		demand := incident(t, 1e5)
		p, err := Make(Input{Budget: budget.Params{Name: "w", Model: tt.model, Nodes: 48}, Demand: demand})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range p.Offers {
			if o.budget.VIPCount > tt.vips || o.Fits && o.Answer.Probability >= p.Target {
				t.Errorf("%s: %s: fits %t, a day exhausts with probability %v; want at most %d VIPs", o.Model, o.Setting, o.Fits,
					o.Answer.Probability, tt.vips)
			}
		}
	}
}

func TestAllocation(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ need, step, nodes, perVIP, most, ports, vips int }{
		{1023, 8, 48, 64000, 600, 1024, 1},
		{1025, 8, 48, 64000, 600, 1032, 1},
		{2000, 8, 48, 64000, 600, 2000, 2},
		{1e6, 8, 48, 64000, 600, 800_000, 600},
		{1e6, 8, 1000, 64000, 600, 38_400, 600},
		{64, 1, 1000, 64512, 300, 64, 1},
		{0, 8, 1, 64000, 600, 8, 1},
	} {
		if ports, vips := allocation(tt.need, tt.step, tt.nodes, tt.perVIP, tt.most); ports != tt.ports || vips != tt.vips {
			t.Errorf("%+v: %d ports, %d VIPs", tt, ports, vips)
		}
	}
}
