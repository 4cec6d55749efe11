package ledger

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A file that uses what another declares is read after it. Files that use each other in a circle must be read together,
// so a circle has few.
func TestFilesLookOneWay(t *testing.T) {
	t.Parallel()
	const most = 7
	uses := usesOf(t)
	if len(uses) < 15 {
		t.Fatalf("only %d files use others", len(uses))
	}
	reached := map[string]map[string]bool{}
	for file := range uses {
		seen := map[string]bool{}
		var walk func(string)
		walk = func(from string) {
			for to := range uses[from] {
				if !seen[to] {
					seen[to] = true
					walk(to)
				}
			}
		}
		walk(file)
		reached[file] = seen
	}
	for file, there := range reached {
		var circle []string
		for other := range there {
			if reached[other][file] {
				circle = append(circle, other)
			}
		}
		if slices.Sort(circle); len(circle) > most {
			t.Errorf("%s is in a circle of %d files, want at most %d: %s", file, len(circle), most, strings.Join(circle, " "))
		}
	}
}

// usesOf lists for each file of this package the other files whose functions, types, fields, constants or variables it
// names.
func usesOf(t *testing.T) map[string]map[string]bool {
	t.Helper()
	exports, files := exportsOf(t)
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range files {
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	p, err := config.Check("ledger", set, parsed, &info)
	if err != nil {
		t.Fatal(err)
	}
	uses := map[string]map[string]bool{}
	for id, o := range info.Uses {
		field := false
		if v, ok := o.(*types.Var); ok {
			field = v.IsField()
		}
		method := false
		if fn, ok := o.(*types.Func); ok {
			method = fn.Signature().Recv() != nil
		}
		if o.Pkg() != p || !field && !method && o.Parent() != p.Scope() {
			continue
		}
		from, to := set.Position(id.Pos()).Filename, set.Position(o.Pos()).Filename
		if from == to {
			continue
		}
		if uses[from] == nil {
			uses[from] = map[string]bool{}
		}
		uses[from][to] = true
	}
	return uses
}

// exportsOf returns where the compiled form of each package is that this one imports, and this one's files.
func exportsOf(t *testing.T) (exports map[string]string, files []string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export,GoFiles", ".")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports = map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath, Export string
			GoFiles            []string
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return exports, files // those of the last package, which is this one
		}
		if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath], files = p.Export, p.GoFiles
	}
}
