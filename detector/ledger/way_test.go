package ledger

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
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
				functionsOf(t, set, name)
			}
			continue
		}
		steps++
		there := functionsOf(t, set, m[1])
		for _, name := range method.FindAllString(m[2], -1) {
			methods++
			if there[name] == nil {
				t.Errorf("%s has no %s", m[1], name)
			}
		}
	}
	if steps < 8 || methods < steps {
		t.Errorf("the comment names %d steps and %d methods", steps, methods)
	}
}

// A reader who follows one flow reads few functions in few files: those of this package that run when a flow opens and
// ends in a ledger that runs already. The coverage of a run with that flow, less that of a run without it, tells which.
func TestAFlowTakesAShortWay(t *testing.T) {
	t.Parallel()
	const functionsMax, filesMax = 75, 14
	if way := os.Getenv(wayOf); way != "" {
		s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
		s.dump(1, flowTo(1, store), flowTo(2, store))
		s.open(2, flowTo(3, store))
		s.close(3, flowTo(3, store), collector.FIN)
		s.Advance(at(5))
		if way == oneFlow {
			s.open(5, flowTo(4, store))
			s.close(5, flowTo(4, store), collector.FIN)
		}
		return
	}
	program := filepath.Join(t.TempDir(), "ledger.test")
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-covermode=count", "-o", program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	with, without := ran(t, program, oneFlow), ran(t, program, "no flow")
	files, functions := map[string]bool{}, 0
	for at, n := range with {
		if n > without[at] {
			functions++
			file, _, _ := strings.Cut(at, " ")
			files[file] = true
		}
	}
	t.Logf("%d functions in %d files", functions, len(files))
	if functions > functionsMax || len(files) > filesMax {
		t.Errorf("one flow runs %d functions in %d files, want at most %d in %d", functions, len(files), functionsMax, filesMax)
	}
	if functions < 40 {
		t.Errorf("one flow runs %d functions: not all were counted", functions)
	}
}

// wayOf names the variable of the environment that has a program of TestAFlowTakesAShortWay apply events: those of a
// ledger that runs already, and, where it is oneFlow, those of one flow more.
const wayOf, oneFlow = "SNATWATCH_WAY_OF", "one flow"

// ran runs program on the events of way and returns how often each function of the package ran, by file and name.
func ran(t *testing.T, program, way string) map[string]int {
	t.Helper()
	profile := filepath.Join(t.TempDir(), "profile")
	run := exec.CommandContext(t.Context(), program, "-test.run=^TestAFlowTakesAShortWay$", "-test.coverprofile="+profile)
	run.Env = append(os.Environ(), wayOf+"="+way)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	blocks, err := os.ReadFile(profile)
	if err != nil {
		t.Fatal(err)
	}
	counts, starts := map[string]int{}, map[string]map[string]string{}
	block := regexp.MustCompile(`/([a-z_0-9]+\.go):(\d+)\.\d+,\d+\.\d+ \d+ (\d+)`)
	for _, m := range block.FindAllStringSubmatch(string(blocks), -1) {
		if starts[m[1]] == nil {
			starts[m[1]] = functionsAt(t, m[1])
		}
		if name := starts[m[1]][m[2]]; name != "" {
			n, err := strconv.Atoi(m[3])
			if err != nil {
				t.Fatal(err)
			}
			counts[m[1]+" "+name] += n
		}
	}
	return counts
}

// functionsAt names the functions of a file by the line on which the body begins.
func functionsAt(t *testing.T, file string) map[string]string {
	t.Helper()
	set := token.NewFileSet()
	all := map[string]string{}
	for name, fn := range functionsOf(t, set, file) {
		all[strconv.Itoa(set.Position(fn.Body.Lbrace).Line)] = name
	}
	return all
}

// functionsOf lists the functions of a file, methods as Type.method.
func functionsOf(t *testing.T, set *token.FileSet, file string) map[string]*ast.FuncDecl {
	t.Helper()
	f, err := parser.ParseFile(set, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*ast.FuncDecl{}
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		name := fn.Name.Name
		if fn.Recv != nil {
			of := fn.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if of, ok := of.(*ast.Ident); ok {
				name = of.Name + "." + name
			}
		}
		all[name] = fn
	}
	return all
}
