package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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

// A reader who follows one flow reads few functions in few files, and seldom turns back to a file: those of this package
// that run, one after the other, when a flow opens and ends in a ledger that runs already.
func TestAFlowTakesAShortWay(t *testing.T) {
	t.Parallel()
	const functionsMax, filesMax, visitsMax, turnsMax = 75, 14, 40, 28
	if trace := os.Getenv(traceTo); trace != "" {
		for kind, c := range tracedFlows() {
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}, Owners: c.owners})
			s.dump(1, flowTo(1, store), flowTo(2, store))
			s.open(2, flowTo(3, store))
			s.close(3, flowTo(3, store), collector.FIN)
			s.Advance(at(5))
			if err := os.Remove(trace); err != nil {
				t.Fatal(err)
			}
			f := flowTo(4, store)
			f.State = c.opens
			s.open(5, f)
			s.close(5, flowTo(4, store), collector.FIN)
			if err := os.Rename(trace, trace+kind); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	for kind, way := range waysOfFlows(t) {
		functions, files := map[string]bool{}, map[string]bool{}
		visits, here := 0, ""
		for _, step := range way {
			functions[step] = true
			if file, _, _ := strings.Cut(step, " "); file != here {
				files[file], here = true, file
				visits++
			}
		}
		turns := visits - len(files)
		t.Logf("a flow %s runs %d functions in %d files: %d visits to a file, %d of them turn back to one",
			kind, len(functions), len(files), visits, turns)
		if len(functions) > functionsMax || len(files) > filesMax {
			t.Errorf("a flow %s runs %d functions in %d files, want at most %d in %d",
				kind, len(functions), len(files), functionsMax, filesMax)
		}
		if visits > visitsMax || turns > turnsMax {
			t.Errorf("a flow %s visits files %d times and turns back %d times, want at most %d and %d:\n%s",
				kind, visits, turns, visitsMax, turnsMax, strings.Join(way, "\n"))
		}
		if len(functions) < 40 {
			t.Errorf("a flow %s runs %d functions: not all were counted", kind, len(functions))
		}
	}
}

// tracedFlow is how a flow opens in a ledger, and whether the ledger counts who holds its port.
type tracedFlow struct {
	opens  collector.State
	owners bool
}

// tracedFlows are the flows that TestAFlowTakesAShortWay follows, by what tells them apart.
func tracedFlows() map[string]tracedFlow {
	return map[string]tracedFlow{
		"that is answered": {opens: flowTo(4, store).State},
		"that waits for its answer, in a ledger of owners": {opens: collector.Opening, owners: true},
	}
}

// traceTo names the variable of the environment with the file to which a traced program of TestAFlowTakesAShortWay
// appends each function of the package that begins. Once a flow ended, the program adds the flow's name to the file's.
const traceTo = "SNATWATCH_TRACE_TO"

// waysOfFlows returns the functions of this package that each traced flow runs, in the order in which they begin, each as
// its file and its name. It runs a copy of the package in which each function first tells that it begins.
func waysOfFlows(t *testing.T) map[string][]string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	replace := func(name string, source []byte) {
		path, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = filepath.Join(dir, name)
		if err := os.WriteFile(overlay.Replace[path], source, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		set := token.NewFileSet()
		functions := functionsOf(t, set, name)
		order := slices.SortedFunc(maps.Keys(functions), func(a, b string) int {
			return cmp.Compare(functions[b].Body.Lbrace, functions[a].Body.Lbrace)
		})
		for _, function := range order { // from the last, so that the places of those before stay right
			body := set.Position(functions[function].Body.Lbrace).Offset + 1
			source = slices.Insert(source, body, fmt.Appendf(nil, "begins(%q);", name+" "+function)...)
		}
		replace(name, source)
	}
	replace("begins.go", fmt.Appendf(nil, `package ledger

import "os"

func begins(function string) {
	f, err := os.OpenFile(os.Getenv(%q), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	if _, err := f.WriteString(function + "\n"); err != nil {
		panic(err)
	}
}
`, traceTo))
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	path, trace := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "trace")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-overlay="+path,
		"-run=^TestAFlowTakesAShortWay$", ".")
	run.Env = append(os.Environ(), traceTo+"="+trace)
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	ways := map[string][]string{}
	for kind := range tracedFlows() {
		way, err := os.ReadFile(trace + kind)
		if err != nil {
			t.Fatal(err)
		}
		ways[kind] = strings.Split(strings.TrimSpace(string(way)), "\n")
	}
	return ways
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
