package rules_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/rules"
)

// Prometheus looks back five minutes for a series, so what is recorded less often is read over a range from other
// groups, wide enough for one that was missed; by alerts, what it would forget before the next but one as well.
func TestWhatIsRecordedSeldomIsReadOverARange(t *testing.T) {
	t.Parallel()
	groups := rules.Default().Groups()
	const lookBack = 5 * time.Minute
	often := map[string]rules.Group{} // the group that records a series the most often
	for _, g := range groups {
		for _, r := range g.Records {
			if before, ok := often[r.Name]; !ok || g.Interval < before.Interval {
				often[r.Name] = g
			}
		}
	}
	seldom := map[string]rules.Group{}
	for name, g := range often {
		if 2*g.Interval > lookBack {
			seldom[name] = g
		}
	}
	if len(seldom) == 0 {
		t.Fatal("nothing is recorded so seldom that Prometheus forgets it before the next but one")
	}
	for _, g := range groups {
		exprs, alert := map[string]string{}, map[string]bool{}
		for _, r := range g.Records {
			exprs[r.Name+r.Labels["horizon"]+r.Labels["part"]] = r.Expr
		}
		for _, a := range g.Alerts {
			exprs[a.Name], alert[a.Name] = a.Expr, true
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
				if !rare || from.Name == g.Name || from.Interval <= lookBack && !alert[name] {
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
