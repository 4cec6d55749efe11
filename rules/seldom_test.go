package rules_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/rules"
)

// Prometheus looks back five minutes for a series, so what is recorded less often is read over a range from other
// groups, wide enough for one that was missed.
func TestWhatIsRecordedSeldomIsReadOverARange(t *testing.T) {
	t.Parallel()
	groups := rules.Default().Groups()
	seldom := map[string]rules.Group{}
	for _, g := range groups {
		for _, r := range g.Records {
			if g.Interval > 5*time.Minute {
				seldom[r.Name] = g
			}
		}
	}
	if len(seldom) == 0 {
		t.Fatal("nothing is recorded less often than every five minutes")
	}
	for _, g := range groups {
		exprs := map[string]string{}
		for _, r := range g.Records {
			exprs[r.Name+r.Labels["horizon"]+r.Labels["part"]] = r.Expr
		}
		for _, a := range g.Alerts {
			exprs[a.Name] = a.Expr
		}
		for name, expr := range exprs {
			e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
				v, ok := n.(*parser.VectorSelector)
				if !ok {
					return nil
				}
				from, rare := seldom[v.Name]
				if !rare || from.Name == g.Name {
					return nil
				}
				if over, ok := path[len(path)-1].(*parser.MatrixSelector); !ok || over.Range < 2*from.Interval {
					t.Errorf("%s reads %s, recorded every %s: want a range of twice that", name, v.Name, from.Interval)
				}
				return nil
			})
		}
	}
}
