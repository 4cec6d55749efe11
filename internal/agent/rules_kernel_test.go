package agent

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A firewall that is flushed for a moment takes no budget away, a second kind of rule renames none, and what became of the
// rules is counted.
func TestKernelAgentFollowsRules(t *testing.T) {
	ns := kerneltest.Netns(t)
	nft := kerneltest.Program(t, "nft", "nftables")
	set := func(rules string) {
		t.Helper()
		err := ns.Do(func() error {
			cmd := exec.Command(nft, "-f", "-")
			cmd.Stdin = strings.NewReader("flush ruleset\n" + rules)
			out, err := cmd.CombinedOutput()
			if err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	chain := func(rules string) string {
		return "table ip n {\n chain post {\n type nat hook postrouting priority 100\n" + rules + "\n }\n}\n"
	}
	const one, two = "ip saddr 10.0.0.0/8 snat to 198.51.100.1\n", "masquerade\n"
	const odd = "ip saddr 192.168.0.0/16 snat to 198.18.0.0-198.19.255.255\n"
	set(chain(one))
	a, _ := newQuietAgent(t, fmt.Sprintf("cloud_metadata: false\nnetns: /proc/self/fd/%d\n", ns.FD()), cloud.Client{})
	for _, step := range []struct {
		name, rules, budgets string
		counts               metrics.NATRules
	}{
		{"as it started", chain(one), "auto auto-local", metrics.NATRules{Read: 1}},
		{"flushed", "", "auto auto-local", metrics.NATRules{}},
		{"restored", chain(one), "auto auto-local", metrics.NATRules{Read: 1}},
		{"a second kind of rule", chain(odd + one + two + one), "auto auto-masquerade auto-local", metrics.NATRules{Read: 2, NotRead: 1, Shadowed: 1}},
		{"the first kind alone again", chain(one + one), "auto auto-masquerade auto-local", metrics.NATRules{Read: 1, Shadowed: 1}},
	} {
		set(step.rules)
		if err := a.setup.lookAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, b := range a.setup.current() {
			if names = append(names, b.Name); b.Name == "auto-local" && b.Local {
				continue
			}
			if b.Model != "linux" {
				t.Errorf("%s: budget %s is of model %s", step.name, b.Name, b.Model)
			}
		}
		if got := strings.Join(names, " "); got != step.budgets {
			t.Errorf("%s: budgets %s, want %s", step.name, got, step.budgets)
		}
		if diff := cmp.Diff(&step.counts, a.setup.seen.rules); diff != "" {
			t.Errorf("%s: rules counted (-want +got):\n%s", step.name, diff)
		}
	}
}
