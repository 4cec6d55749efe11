package budget

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A way out has the budgets that the same flow takes ports of, in the order in which it passes them.
func TestChains(t *testing.T) {
	t.Parallel()
	prefixes := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	one := func(b int) *int { return &b }
	params := map[string]Params{
		"own":        {Model: "local"},
		"masquerade": {Model: "linux"},
		"udp":        {Model: "linux", TCP: Overrides{Ports: one(0)}},
		"lb":         {Model: "azure-lb", Nodes: 40, Include: prefixes("203.0.113.0/24")},
		"tcp-lb":     {Model: "azure-lb", Nodes: 40, UDP: Overrides{Ports: one(0)}},
		"pods":       {Model: "cilium", Include: prefixes("198.18.0.0/15")},
		"wide":       {Model: "static", Ports: 100_000},
		"elsewhere":  {Model: "linux", Netns: 7},
		"here":       {Model: "local", Netns: 8},
	}
	tests := []struct {
		name    string
		budgets []string
		want    []string
	}{
		{"none", nil, nil},
		{"one stage alone", []string{"lb"}, nil},
		{"docker's rule on an Azure VM", []string{"masquerade", "lb"}, []string{
			"NAT of this machine (masquerade: linux, 64512 ports) → NAT beyond this machine (lb: azure-lb, 1024 ports); the tightest is lb",
		}},
		{"with the machine's own flows", []string{"masquerade", "lb", "own"}, []string{
			"ports of this machine (own: local, 28232 ports) → NAT of this machine (masquerade: linux, 64512 ports) → " +
				"NAT beyond this machine (lb: azure-lb, 1024 ports); the tightest is lb",
		}},
		{"no NAT beyond", []string{"masquerade", "own"}, []string{
			"ports of this machine (own: local, 28232 ports) → NAT of this machine (masquerade: linux, 64512 ports); the tightest is own",
		}},
		{"a NAT beyond that is wider", []string{"masquerade", "wide"}, []string{
			"NAT of this machine (masquerade: linux, 64512 ports) → NAT beyond this machine (wide: static, 100000 ports); the tightest is masquerade",
		}},
		{"protocols apart", []string{"udp", "tcp-lb"}, nil},
		{"destinations apart", []string{"pods", "lb"}, nil},
		{"namespaces apart", []string{"elsewhere", "here"}, nil},
		{"Cilium's NAT is this machine's", []string{"pods", "wide"}, []string{
			"NAT of this machine (pods: cilium, 32767 ports) → NAT beyond this machine (wide: static, 100000 ports); the tightest is pods",
		}},
	}
	for _, tt := range tests {
		var budgets []*Budget
		for _, name := range tt.budgets {
			p := params[name]
			p.Name = name
			b, err := Resolve(p)
			if err != nil {
				t.Fatal(err)
			}
			budgets = append(budgets, b)
		}
		for range 2 { // in whichever order they are configured
			var got []string
			for _, c := range Chains(budgets) {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
			slices.Reverse(budgets)
		}
	}
}
