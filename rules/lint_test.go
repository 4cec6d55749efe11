package rules_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/records"
)

// What holds on every engine: those that write results a while after the evaluation, those whose evaluators stamp a label on
// what they record or run twice, and those that take a counter to begin at 0.

func TestAlertsStandOnOneRecordedLink(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	seen := 0
	for _, g := range o.Groups() {
		for _, a := range g.Alerts {
			for _, link := range reads(t, o, a.Name, a.Expr) {
				seen++
				if link.group == g.Name {
					t.Errorf("%s reads %s of its own group %s: an engine may not have it yet", a.Name, link.record.Name, g.Name)
				}
				if more := reads(t, o, link.record.Name, link.record.Expr); len(more) > 0 {
					t.Errorf("%s reads %s, which reads %s: each link costs an interval", a.Name, link.record.Name, more[0].record.Name)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no alert reads what rules record: does this test still find it?")
	}
}

// link is a record that an expression reads, and its group.
type link struct {
	record records.Record
	group  string
}

func reads(t *testing.T, o rules.Options, name, expr string) []link {
	t.Helper()
	var out []link
	for _, v := range selectors(parse(t, name, expr)) {
		for _, g := range o.Groups() {
			for _, r := range g.Records {
				if r.Name == v.Name && !slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool {
					return m.Name == "horizon" && r.Labels["horizon"] != "" && !m.Matches(r.Labels["horizon"])
				}) {
					out = append(out, link{r, g.Name})
				}
			}
		}
	}
	return out
}

// A record reads nothing of its own group either: on an engine that writes late it is of another time.
func TestRecordsReadNothingOfTheirGroup(t *testing.T) {
	t.Parallel()
	o := rules.Default()
	for _, g := range o.Groups() {
		for _, r := range g.Records {
			for _, link := range reads(t, o, r.Name, r.Expr) {
				if link.group == g.Name {
					t.Errorf("%s reads %s of its own group %s", r.Name, link.record.Name, g.Name)
				}
			}
		}
	}
}

func TestRecordedAndRawMeetByNamedLabels(t *testing.T) {
	t.Parallel()
	for name, expr := range expressions(rules.Default()) {
		labelsOf(t, name, parse(t, name, expr))
	}
}

// kinds are whose labels an expression still has beside those that it names: an agent's or an evaluator's.
type kinds struct{ raw, recorded, named bool }

func (k kinds) or(o kinds) kinds {
	return kinds{k.raw || o.raw, k.recorded || o.recorded, k.named || o.named}
}

// labelsOf returns the kinds of e and fails where two meet by labels that nobody named.
func labelsOf(t *testing.T, rule string, e parser.Expr) kinds {
	t.Helper()
	switch e := e.(type) {
	case *parser.VectorSelector:
		recorded := e.Name == "ALERTS" || strings.Contains(e.Name, ":")
		return kinds{raw: !recorded, recorded: recorded}
	case *parser.AggregateExpr:
		k := labelsOf(t, rule, e.Expr)
		if e.Without || e.Op == parser.TOPK || e.Op == parser.BOTTOMK {
			return k
		}
		return kinds{named: true}
	case *parser.BinaryExpr:
		l, r := labelsOf(t, rule, e.LHS), labelsOf(t, rule, e.RHS)
		if l == (kinds{}) || r == (kinds{}) { // a number
			return l.or(r)
		}
		on := e.VectorMatching != nil && e.VectorMatching.On
		if both := l.or(r); !on && both.recorded && (both.raw || both.named) {
			t.Errorf("%s: a recorded series meets another without on or by, and an evaluator may have stamped a label on it:\n%s", rule, e)
		}
		switch {
		case e.Op == parser.LOR:
			return l.or(r)
		case e.Op.IsSetOperator() || e.VectorMatching == nil || e.VectorMatching.Card == parser.CardManyToOne:
			return l
		case e.VectorMatching.Card == parser.CardOneToMany:
			return r
		case on:
			return kinds{named: true}
		}
		return l.or(r)
	}
	var k kinds
	for c := range parser.ChildrenIter(e) {
		if sub, ok := c.(parser.Expr); ok {
			k = k.or(labelsOf(t, rule, sub))
		}
	}
	return k
}

// VictoriaMetrics takes a counter that is first seen at 1 to 9 to have grown by that much, and a number to differ from none.
// Its rate needs two samples, as that of Prometheus does.
func TestNothingGrowsFromNowhere(t *testing.T) {
	t.Parallel()
	for name, expr := range expressions(rules.Default()) {
		parser.Inspect(parse(t, name, expr), func(n parser.Node, _ []parser.Node) error {
			if c, ok := n.(*parser.Call); ok && slices.Contains([]string{"increase", "delta", "idelta", "irate"}, c.Func.Name) {
				t.Errorf("%s: %s: want grew, or rate", name, c)
			}
			if b, ok := n.(*parser.BinaryExpr); ok && b.Op == parser.NEQ && strings.Contains(b.RHS.String(), " offset ") {
				paren, ok := b.RHS.(*parser.ParenExpr)
				if !ok || !isComparison(paren.Expr) {
					t.Errorf("%s: %s is true over a hole: want (x offset … > 0) on the right", name, b)
				}
			}
			return nil
		})
	}
	guarded := regexp.MustCompile(`increase\(([^()]+)\) and max_over_time\(([^()]+)\) > min_over_time\(([^()]+)\)`)
	for _, a := range rules.Default().Alerts() {
		text := guarded.ReplaceAllStringFunc(a.Description+a.Detail, func(s string) string {
			if m := guarded.FindStringSubmatch(s); m[1] != m[2] || m[1] != m[3] {
				t.Errorf("%s: %s guards another series", a.Name, s)
			}
			return ""
		})
		if strings.Contains(text, "increase(") {
			t.Errorf("%s: an increase without a guard: %s", a.Name, text)
		}
	}
}

func isComparison(e parser.Expr) bool {
	b, ok := e.(*parser.BinaryExpr)
	return ok && b.Op.IsComparisonOperator()
}

// expressions returns what rules evaluate, by name and group.
func expressions(o rules.Options) map[string]string {
	out := map[string]string{}
	for _, g := range o.Groups() {
		for _, r := range g.Records {
			out[r.Name+r.Labels["horizon"]+" in "+g.Name] = r.Expr
		}
		for _, a := range g.Alerts {
			out[a.Name+a.Labels["evidence"]+" in "+g.Name] = a.Expr
		}
	}
	return out
}

func parse(t *testing.T, name, expr string) parser.Expr {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return e
}

// selectors returns what an expression reads.
func selectors(e parser.Expr) []*parser.VectorSelector {
	var out []*parser.VectorSelector
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if v, ok := n.(*parser.VectorSelector); ok {
			out = append(out, v)
		}
		return nil
	})
	return out
}

// Boards read what rules record, too.
func TestBoardsMatchRecordedByNamedLabels(t *testing.T) {
	t.Parallel()
	boards, err := filepath.Glob("../dashboards/*.json")
	if err != nil || len(boards) == 0 {
		t.Fatalf("no boards: %v", err)
	}
	found := 0
	variables := strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$__interval", "15s")
	for _, path := range boards {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var board any
		if err := json.Unmarshal(body, &board); err != nil {
			t.Fatal(err)
		}
		walk(board, func(expr string) {
			found++
			labelsOf(t, filepath.Base(path), parse(t, path, variables.Replace(expr)))
		})
	}
	if found < 40 {
		t.Errorf("only %d queries found in %v", found, boards)
	}
}

// walk calls note with every query of a board.
func walk(v any, note func(expr string)) {
	switch v := v.(type) {
	case map[string]any:
		for key, of := range v {
			if expr, ok := of.(string); ok && key == "expr" {
				note(expr)
			} else {
				walk(of, note)
			}
		}
	case []any:
		for _, of := range v {
			walk(of, note)
		}
	}
}
