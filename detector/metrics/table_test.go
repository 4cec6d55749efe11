package metrics_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

func TestTableFollowsConventions(t *testing.T) {
	t.Parallel()
	name := regexp.MustCompile(`^snat_[a-z][a-z_]*[a-z]$`)
	seen := map[metrics.Name]bool{}
	for _, m := range metrics.Metrics() {
		if seen[m.Name] {
			t.Errorf("%s stands twice", m.Name)
		}
		seen[m.Name] = true
		if !name.MatchString(string(m.Name)) {
			t.Errorf("%s does not match %s", m.Name, name)
		}
		if got, want := strings.HasSuffix(string(m.Name), "_total"), m.Type == metrics.Counter; got != want {
			t.Errorf("%s is a %s: _total is for counters and only for them", m.Name, m.Type)
		}
		if m.Type == metrics.Histogram && !strings.HasSuffix(string(m.Name), "_seconds") {
			t.Errorf("%s: a histogram of durations ends in _seconds", m.Name)
		}
		if !strings.HasSuffix(m.Help, ".") || strings.Contains(m.Help, "\n") {
			t.Errorf("%s: help is sentences on one line: %q", m.Name, m.Help)
		}
	}
}

// Every constant of type Name and Label is in the table, so that a rule cannot
// use a name that nothing emits.
func TestEveryConstantIsInTheTable(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "names.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, m := range metrics.Metrics() {
		got["Name "+string(m.Name)] = true
		for _, l := range m.Labels {
			got["Label "+string(l)] = true
		}
	}
	want := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		typ, ok := spec.Type.(*ast.Ident)
		if !ok || typ.Name != "Name" && typ.Name != "Label" {
			return true
		}
		value, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		want[typ.Name+" "+value] = true
		return true
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("constants and table (-constants +table):\n%s", diff)
	}
}

func TestHorizonValues(t *testing.T) {
	t.Parallel()
	want := [...]string{"1m", "5m", "15m", "1h"}
	if diff := cmp.Diff(want, metrics.HorizonValues()); diff != "" {
		t.Errorf("horizons (-want +got):\n%s", diff)
	}
}
