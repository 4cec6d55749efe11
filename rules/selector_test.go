package rules_test

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/rules"
)

// A selector reaches every metric of the agent and no series of our own.
func TestSelectorReachesEveryMetric(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	o.Selector = `env="prod", job=~"a,b"`
	for _, g := range o.Groups() {
		for _, r := range g.Records {
			selected(t, r.Name, r.Expr)
		}
		for _, a := range g.Alerts {
			selected(t, a.Name, a.Expr)
		}
	}
}

func selected(t *testing.T, rule, expr string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", rule, err)
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		v, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		has := false
		for _, m := range v.LabelMatchers {
			has = has || m.Name == "env" && m.Value == "prod"
		}
		if want := v.Name == "up" || strings.HasPrefix(v.Name, "snat_"); has != want {
			t.Errorf("%s: %s: selector there: %v, want %v", rule, v, has, want)
		}
		return nil
	})
}
