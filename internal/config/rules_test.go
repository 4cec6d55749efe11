package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/natrules"
)

func parse(t *testing.T, yaml string) *Config {
	t.Helper()
	c, err := Parse("f.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A budget keeps its name while others come and go, so that its counters go on.
func TestNamesStayWhileRulesChange(t *testing.T) {
	t.Parallel()
	snat := natrules.Rule{VIPs: addrs("198.51.100.1"), TCP: true, UDP: true}
	narrow := natrules.Rule{VIPs: addrs("198.51.100.1"), Ports: collector.PortRange{First: 1024, Last: 2047}, TCP: true}
	masquerade := natrules.Rule{Masquerade: true, SpacePerVIP: true, TCP: true, UDP: true}
	wan := natrules.Rule{Masquerade: true, VIPs: addrs("192.0.2.1"), TCP: true, UDP: true}
	wan6 := natrules.Rule{Masquerade: true, VIPs: addrs("2001:db8::1"), TCP: true, UDP: true}
	moved := natrules.Rule{Masquerade: true, VIPs: addrs("192.0.2.99"), TCP: true, UDP: true}
	tests := []struct {
		name  string
		looks [][]natrules.Rule
		want  []string
	}{
		{"masquerade, then another kind", [][]natrules.Rule{{masquerade}, {masquerade, snat}, {masquerade}}, []string{"nat nat-local", "nat-198.51.100.1 nat nat-local", "nat nat-local"}},
		{"snat, then masquerade", [][]natrules.Rule{{snat}, {masquerade, snat}, {snat}}, []string{"nat nat-local", "nat nat-masquerade nat-local", "nat nat-local"}},
		{
			"snat, and ports of its own for some",
			[][]natrules.Rule{{snat}, {narrow, snat}, {narrow}},
			[]string{"nat nat-local", "nat-198.51.100.1:1024-2047 nat nat-local", "nat-198.51.100.1:1024-2047 nat-local"},
		},
		{"both families", [][]natrules.Rule{{wan}, {wan, wan6}, {wan6}}, []string{"nat nat-local", "nat nat-masquerade-ipv6 nat-local", "nat-masquerade-ipv6 nat-local"}},
		{"a rule that comes later, and goes", [][]natrules.Rule{nil, {masquerade}, nil}, []string{"nat", "nat-masquerade nat", "nat"}},
		{"another address of the interface", [][]natrules.Rule{{wan, snat}, {moved, snat}}, []string{"nat nat-198.51.100.1 nat-local", "nat nat-198.51.100.1 nat-local"}},
	}
	for _, tt := range tests {
		c := parse(t, "budgets: [{name: nat, model: auto}]")
		var m Machine
		var got []string
		for _, rules := range tt.looks {
			m.Rules = natrules.Ruleset{Read: true, Rules: rules}
			budgets, _, err := c.Resolve(m)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, b := range budgets {
				names = append(names, b.Name)
			}
			got = append(got, strings.Join(names, " "))
			m.Standing = budgets
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// Rules beyond what can be shown one by one are one budget of all their ports, which cannot be full before they are.
func TestManyRulesAreFolded(t *testing.T) {
	t.Parallel()
	var rules []natrules.Rule
	for i := range 300 {
		v := netip.AddrFrom4([4]byte{198, 51, byte(i / 250), byte(i % 250)})
		rules = append(rules, natrules.Rule{VIPs: []netip.Addr{v}, Ports: collector.PortRange{First: 1024, Last: uint16(1123 + i)}, TCP: true})
	}
	slices.Reverse(rules)
	c := parse(t, "budgets: [{name: nat, model: auto}]")
	budgets, notes, err := c.Resolve(Machine{Rules: natrules.Ruleset{Read: true, Rules: rules}})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(budgets); n != maxAutoBudgets+1 || !budgets[n-1].Local {
		t.Fatalf("%d budgets, want %d and one of ephemeral ports", n, maxAutoBudgets)
	}
	budgets = budgets[:maxAutoBudgets]
	sum := 0
	for i := maxAutoBudgets - 1; i < 300; i++ {
		sum += 100 + i
	}
	first, last := budgets[0], budgets[len(budgets)-1]
	if first.TCP.Ports != 100 || last.Name != "nat-other" || last.TCP.Ports != sum || last.UDP.Ports != 0 || len(last.VIPs) != 300-maxAutoBudgets+1 {
		t.Errorf("first of %d ports; last %s of %d ports, want %d, and %d VIPs", first.TCP.Ports, last.Name, last.TCP.Ports, sum, len(last.VIPs))
	}
	want := "nat: the NAT rules give out 300 different ports and VIPs: the 173 with the most ports are one budget, nat-other, of all their ports together: " +
		"a budget of model linux counts one of them by itself"
	if len(notes) != 1 || notes[0] != want {
		t.Errorf("notes %q", notes)
	}
}

// What is configured and no rule gives out is said.
func TestConfigAgainstRules(t *testing.T) {
	t.Parallel()
	snat := natrules.Rule{Table: "ip nat", Chain: "post", Handle: 4, VIPs: addrs("198.51.100.1"), Ports: collector.PortRange{First: 1024, Last: 2047}, TCP: true}
	masquerade := natrules.Rule{Table: "ip nat", Chain: "post", Handle: 5, Masquerade: true, SpacePerVIP: true, TCP: true, UDP: true}
	both := natrules.Ruleset{Read: true, Rules: []natrules.Rule{snat, masquerade}}
	const they = "they are snat 198.51.100.1 ports 1024-2047 (table ip nat, chain post, handle 4); masquerade (table ip nat, chain post, handle 5)"
	tests := []struct {
		name, budget string
		rules        natrules.Ruleset
		want         string
	}{
		{"what a rule gives out", "vips: [198.51.100.1], port_range: 1024-2047", both, ""},
		{"what masquerade gives out", "", both, ""},
		{"of whatever address", "vips: [192.0.2.1]", both, ""},
		{"a range that no rule has", "port_range: 2048-4095", both, they},
		{"a VIP that has other ports", "vips: [198.51.100.1], port_range: 1024-1535", both, they},
		{"no rule", "", natrules.Ruleset{Read: true}, "there is none that gives out ports"},
		{"rules that are not read", "port_range: 2048-4095", natrules.Ruleset{}, ""},
		{"rules that are not understood", "port_range: 2048-4095", natrules.Ruleset{Read: true, Unknown: 1}, ""},
	}
	for _, tt := range tests {
		budget := "{name: gw, model: linux"
		if tt.budget != "" {
			budget += ", " + tt.budget
		}
		_, notes, err := parse(t, "budgets: ["+budget+"}]").Resolve(Machine{Rules: tt.rules})
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		if tt.want != "" {
			want = "gw: no NAT rule of this machine gives out its ports: " + tt.want
		}
		if got := strings.Join(notes, "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, want)
		}
	}
}

// An entry for a network namespace follows the rules that stand there.
func TestRulesOfNamespace(t *testing.T) {
	t.Parallel()
	masquerade := natrules.Rule{Masquerade: true, SpacePerVIP: true, TCP: true, UDP: true}
	snat := natrules.Rule{VIPs: addrs("198.51.100.1"), TCP: true, UDP: true}
	c := parse(t, "budgets: [{name: outer, model: auto}, {name: inner, model: auto, netns: r}, {name: gone, model: auto, netns: s}]")
	budgets, notes, err := c.Resolve(Machine{
		Rules:      natrules.Ruleset{Read: true, Rules: []natrules.Rule{masquerade}},
		NetnsRules: map[string]natrules.Ruleset{"r": {Read: true, Rules: []natrules.Rule{snat}}},
		Netns:      map[string]uint64{"r": 7, "s": 8}, Limits: collector.Limits{Netns: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range budgets {
		got = append(got, fmt.Sprintf("%s %s %v %d", b.Name, b.Model, b.VIPs, b.Netns))
	}
	want := []string{
		"outer linux [] 1", "outer-local local [] 1", "inner linux [198.51.100.1] 7", "inner-local local [] 7", "gone local [] 8",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("budgets (-want +got):\n%s\nnotes %q", diff, notes)
	}
}
