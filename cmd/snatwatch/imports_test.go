package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/snatwatch/snatwatch/"

// goPackage is what go list tells of one package.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// Values go one way: kernel, flow, ledger, snapshot, metric, rule, board. What a package may
// import of this module, and whether it may import others' modules at all, keeps it so.
func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	rules := []struct {
		name    string
		in      string   // the package, or with a slash at the end all below it
		allowed []string // of this module; one with a slash at the end allows all below it
		std     bool     // nothing outside this module and the standard library
	}{
		{name: "the words of the kernel edge", in: "collector", std: true},
		{name: "readers of the kernel", in: "collector/", allowed: []string{"collector", "collector/"}},
		{name: "budgets", in: "detector/budget", allowed: []string{"collector"}, std: true},
		{name: "the words of a snapshot", in: "detector", allowed: []string{"collector", "detector/budget"}, std: true},
		{name: "forecast", in: "detector/forecast", allowed: []string{"collector", "detector", "detector/budget"}, std: true},
		{name: "ledger", in: "detector/ledger", allowed: []string{"collector", "detector", "detector/budget", "detector/forecast", "detector/ledger/prefetch"}, std: true},
		{name: "reading memory ahead", in: "detector/ledger/prefetch", allowed: []string{}, std: true},
		{name: "metrics", in: "detector/metrics", allowed: []string{"collector", "detector", "detector/budget"}},
		{name: "PromQL", in: "rules/query", allowed: []string{"detector/metrics"}},
		{name: "options of rules", in: "rules/options", allowed: []string{"detector", "detector/metrics", "rules/query"}},
		{name: "records", in: "rules/records", allowed: []string{"detector", "detector/metrics", "rules/options", "rules/query"}},
		{name: "what alerts are made of", in: "rules/alerts", allowed: []string{"detector", "detector/metrics", "rules/query"}},
		{name: "alerts", in: "rules/alerts/", allowed: []string{"detector/metrics", "rules/alerts", "rules/options", "rules/query", "rules/records"}},
		{name: "rules", in: "rules", allowed: []string{"detector", "detector/budget", "detector/metrics", "rules/"}},
		{name: "boards", in: "dashboards", allowed: []string{"detector", "detector/budget", "detector/metrics", "rules", "rules/"}},
		{name: "generator", in: "cmd/snatgen", allowed: []string{"detector/metrics", "internal/cli", "rules", "dashboards"}},
		{name: "commands", in: "cmd/snatwatch", allowed: []string{"collector/cloud", "detector/metrics", "internal/"}},
		{name: "mistakes of command lines", in: "internal/cli", allowed: []string{"internal/words"}},
		{name: "agent", in: "internal/agent", allowed: []string{"collector", "collector/", "detector", "detector/budget", "detector/ledger", "detector/metrics", "internal/config", "internal/kube", "internal/record", "internal/web", "internal/words"}},
		{name: "what the agent gives up", in: "internal/confine", allowed: []string{"collector/netns"}},
		{name: "API and page", in: "internal/web", allowed: []string{"collector", "detector", "detector/budget", "detector/metrics", "internal/plan", "internal/words"}},
		{name: "words of sentences", in: "internal/words", allowed: []string{}, std: true},
		{name: "config", in: "internal/config", allowed: []string{"collector", "collector/", "detector", "detector/budget", "internal/words"}},
		{name: "the API server", in: "internal/kube", std: true},
		{name: "lab", in: "internal/lab", allowed: []string{"collector", "collector/", "internal/verify"}},
		{name: "stress test", in: "internal/verify", allowed: []string{"internal/words"}},
		{name: "plan", in: "internal/plan", allowed: []string{"collector", "detector/budget", "internal/words"}, std: true},
		{name: "demand as measured", in: "internal/plan/measured", allowed: []string{"collector", "detector/budget", "detector/metrics", "internal/flowlog", "internal/plan", "internal/remote", "internal/words"}},
		{name: "flow logs", in: "internal/flowlog", allowed: []string{"collector", "detector/budget"}, std: true},
		{name: "table in the terminal", in: "internal/top", allowed: []string{"detector/metrics", "internal/remote"}},
		{name: "answers of agents and Prometheus", in: "internal/remote", allowed: []string{}, std: true},
		{name: "timeline", in: "internal/timeline", allowed: []string{"internal/lab", "internal/prom"}},
		{name: "Prometheus as a child", in: "internal/prom", allowed: []string{"internal/child"}, std: true},
		{name: "programs that end with this one", in: "internal/child", allowed: []string{}},
		{name: "backtest", in: "internal/backtest", allowed: []string{"collector", "detector", "detector/budget", "detector/forecast", "detector/ledger", "internal/backtest/"}},
		{name: "recorded flows", in: "internal/backtest/record", allowed: []string{"collector", "detector", "detector/budget", "internal/flowlog"}},
		{name: "generated flows", in: "internal/backtest/scenario", allowed: []string{"collector", "internal/backtest/record"}},
		{name: "scores", in: "internal/backtest/score", allowed: []string{}, std: true},
	}
	packages := goList(t)
	for _, tt := range rules {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			found := false
			for _, p := range packages {
				path := strings.TrimPrefix(p.ImportPath, module)
				if !under(path, tt.in) {
					continue
				}
				found = true
				for _, i := range p.Imports {
					ours, isOurs := strings.CutPrefix(i, module)
					switch {
					case isOurs && !slices.ContainsFunc(tt.allowed, func(a string) bool { return under(ours, a) }):
						t.Errorf("%s imports %s", path, ours)
					case !isOurs && tt.std && strings.Contains(strings.Split(i, "/")[0], "."):
						t.Errorf("%s imports %s: the standard library only", path, i)
					}
				}
			}
			if !found && tt.in != "dashboards" {
				t.Errorf("no package %s", tt.in)
			}
		})
	}
	for _, p := range packages {
		for _, d := range p.Deps {
			if strings.HasPrefix(d, module+"cmd/") {
				t.Errorf("%s depends on %s", p.ImportPath, d)
			}
		}
		if p.ImportPath == module+"cmd/snatwatch" && (slices.Contains(p.Deps, module+"rules") || slices.Contains(p.Deps, module+"dashboards")) {
			t.Error("the agent depends on rules or dashboards")
		}
	}
}

func under(path, rule string) bool {
	return path == rule || strings.HasSuffix(rule, "/") && strings.HasPrefix(path, rule)
}

func goList(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
