package config_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// rulesets is where rule sets stand as software writes them. In the head of each, lines "#if" name interfaces
// with their addresses and "#expect" says what they lead to; "#@" begins what one tool loads.
const rulesets = "../../collector/natrules/testdata/rules"

// loaders are the tools by what follows "#@".
func loaders() map[string][]string {
	return map[string][]string{
		"nft":    {"nft", "-f", "-"},
		"ipt":    {"iptables-nft-restore"},
		"ip6t":   {"ip6tables-nft-restore"},
		"legacy": {"iptables-legacy-restore"}, "legacy6": {"ip6tables-legacy-restore"},
		"ipset": {"ipset", "restore"},
	}
}

// Rule sets as software writes them, each loaded by its own tool: the budgets are those that an expert would write
// down, or a notice says what cannot be known.
func TestKernelRulesets(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(rulesets, "*.rules"))
	if err != nil || len(files) == 0 {
		t.Fatalf("rule sets: %d, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".rules")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := os.ReadFile(strings.TrimSuffix(file, ".rules") + ".want")
			if err != nil {
				t.Fatal(err)
			}
			ns := kerneltest.Netns(t)
			load(t, ns, string(text))
			got := budgetsOf(t, ns)
			checkAnswer(t, string(answer), got)
		})
	}
}

// load sets up the interfaces of a rule set and runs its tools.
func load(t *testing.T, ns *netns.Handle, text string) {
	t.Helper()
	tool, part := "", ""
	run := func() {
		if tool != "" {
			runTool(t, ns, loaders()[tool], part)
		}
		part = ""
	}
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "#if":
			words := strings.Fields(rest)
			kerneltest.Uplink(t, ns, words[0], words[1:]...)
		case "#@":
			run()
			tool = rest
		case "#expect":
		default:
			part += line
		}
	}
	run()
}

func runTool(t *testing.T, ns *netns.Handle, args []string, stdin string) {
	t.Helper()
	packages := map[string]string{"nft": "nftables", "ipset": "ipset"}
	debian := packages[args[0]]
	if debian == "" {
		debian = "iptables"
	}
	path := kerneltest.Program(t, args[0], debian)
	err := ns.Do(func() error {
		cmd := exec.Command(path, args[1:]...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what a config that leaves everything to the machine leads to.
type answer struct{ budgets, notes []string }

func budgetsOf(t *testing.T, ns *netns.Handle) answer {
	t.Helper()
	c, err := config.Parse("f.yaml", []byte("cloud_metadata: false\n"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := config.Discover(context.Background(), c, ns, config.Machine{}, cloud.Client{})
	if err != nil {
		t.Fatal(err)
	}
	budgets, notes, err := c.Resolve(m)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{notes: notes}
	for _, b := range budgets {
		a.budgets = append(a.budgets, budgetLine(b))
	}
	// The machine's own processes take ephemeral ports whatever the rules are.
	isLocal := func(line string) bool { return line == "local" }
	if n := len(a.budgets); n > 1 {
		a.budgets = slices.DeleteFunc(a.budgets, isLocal)
		if len(a.budgets) != n-1 {
			t.Errorf("%d budgets of ephemeral ports, want 1", n-len(a.budgets))
		}
	}
	return a
}

// budgetLine writes a budget as an answer has it.
func budgetLine(b *budget.Budget) string {
	if b.Local {
		return "local"
	}
	vips := "any"
	if len(b.VIPs) > 0 {
		texts := make([]string, len(b.VIPs))
		for i, v := range b.VIPs {
			texts[i] = v.String()
		}
		vips = strings.Join(texts, ",")
	}
	each := ""
	if b.SpacePerVIP {
		each = " each"
	}
	return fmt.Sprintf("%s tcp %d udp %d%s", vips, b.TCP.Ports, b.UDP.Ports, each)
}

// checkAnswer compares with an answer: a line for each budget, and after "note" words that a notice has. Without
// any such line there must be no notice, but for those that say what happens where there is no rule.
func checkAnswer(t *testing.T, want string, got answer) {
	t.Helper()
	var budgets []string
	noted := false
	for line := range strings.Lines(want) {
		line = strings.TrimSpace(line)
		words, isNote := strings.CutPrefix(line, "note ")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case isNote:
			noted = true
			if !slices.ContainsFunc(got.notes, func(n string) bool { return strings.Contains(n, words) }) {
				t.Errorf("no notice has %q", words)
			}
		default:
			budgets = append(budgets, line)
		}
	}
	have := slices.Clone(got.budgets)
	slices.Sort(budgets)
	slices.Sort(have)
	if diff := cmp.Diff(budgets, have); diff != "" {
		t.Errorf("budgets (-want +got):\n%s", diff)
	}
	if !noted && len(got.notes) > 0 && !slices.Contains(have, "local") {
		t.Errorf("notices, want none")
	}
	if t.Failed() {
		t.Logf("budgets:\n%s\nnotices:\n%s", strings.Join(got.budgets, "\n"), strings.Join(got.notes, "\n"))
	}
}
