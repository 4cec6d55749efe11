package ledger

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

// The package comment leads a reader along the way of a flow. Each file that it names exists, and has each method that
// it says is there.
func TestTheWayOfAFlowIsWhereTheCommentSays(t *testing.T) {
	t.Parallel()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "ledger.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	step := regexp.MustCompile(`^\t[a-z]+ +([a-z]+\.go) +(.*)$`)
	file := regexp.MustCompile(`\b[a-z]+\.go\b`)
	method := regexp.MustCompile(`\b[A-Za-z]+\.[A-Za-z]+\b`)
	steps, methods := 0, 0
	for line := range strings.Lines(f.Doc.Text()) {
		m := step.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			for _, name := range file.FindAllString(line, -1) {
				methodsOf(t, name)
			}
			continue
		}
		steps++
		there := methodsOf(t, m[1])
		for _, name := range method.FindAllString(m[2], -1) {
			methods++
			if !there[name] {
				t.Errorf("%s has no %s", m[1], name)
			}
		}
	}
	if steps < 8 || methods < steps {
		t.Errorf("the comment names %d steps and %d methods", steps, methods)
	}
}

// methodsOf lists the methods of a file as Type.method.
func methodsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv == nil {
			continue
		}
		of := fn.Recv.List[0].Type
		if star, ok := of.(*ast.StarExpr); ok {
			of = star.X
		}
		if name, ok := of.(*ast.Ident); ok {
			all[name.Name+"."+fn.Name.Name] = true
		}
	}
	return all
}
