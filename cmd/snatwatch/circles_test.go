package main

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
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A file that uses what another declares is read after it. Files that use each other in a circle must be read together,
// so a circle has few.
func TestFilesLookOneWay(t *testing.T) {
	t.Parallel()
	const most = 7
	// What these packages still have.
	larger := map[string]int{
		"collector/conntrack": 10, "collector/natrules": 19, "collector/sockdiag": 8, "dashboards": 8, "internal/backtest": 14,
		"internal/config": 8, "internal/web": 8,
	}
	packages, exports := packagesOf(t)
	for _, p := range packages {
		circle := largestCircle(usesOf(t, p, exports))
		if allowed := max(most, larger[p.folder()]); len(circle) > allowed {
			t.Errorf("%s has a circle of %d files, want at most %d: %s",
				p.folder(), len(circle), allowed, strings.Join(circle, " "))
		}
	}
	if len(packages) < 40 {
		t.Errorf("only %d packages were found", len(packages))
	}
}

// A circle is found where one is: two files that use each other, and a third that uses one of them.
func TestACircleIsFound(t *testing.T) {
	t.Parallel()
	circle := largestCircle(map[string]map[string]bool{
		"a.go": {"b.go": true}, "b.go": {"c.go": true}, "c.go": {"b.go": true, "d.go": true},
	})
	if !slices.Equal(circle, []string{"b.go", "c.go"}) {
		t.Errorf("the circle is %v", circle)
	}
}

// listed is a package as go list prints it.
type listed struct {
	ImportPath, Export, Dir string
	GoFiles                 []string
	Module                  *struct{ Main bool }
}

// folder returns where the package is below the top of the tree.
func (p *listed) folder() string {
	_, below, _ := strings.Cut(p.ImportPath, "github.com/snatwatch/snatwatch/")
	return below
}

// packagesOf lists the packages of the tree, and where the compiled form of each package is that they import.
func packagesOf(t *testing.T) (packages []*listed, exports map[string]string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps",
		"-json=ImportPath,Export,Dir,GoFiles,Module", "./...")
	list.Dir = filepath.Join("..", "..")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports = map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages, exports
		}
		if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if p.Module != nil && p.Module.Main {
			packages = append(packages, &p)
		}
	}
}

// usesOf lists for each file of a package the other files whose functions, types, fields, constants or variables it
// names.
func usesOf(t *testing.T, p *listed, exports map[string]string) map[string]map[string]bool {
	t.Helper()
	set := token.NewFileSet()
	var parsed []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	checked, err := config.Check(p.ImportPath, set, parsed, &info)
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
		if o.Pkg() != checked || !field && !method && o.Parent() != checked.Scope() {
			continue
		}
		from, to := filepath.Base(set.Position(id.Pos()).Filename), filepath.Base(set.Position(o.Pos()).Filename)
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

// largestCircle returns the most files that reach each other by what they use.
func largestCircle(uses map[string]map[string]bool) (largest []string) {
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
		if slices.Sort(circle); len(circle) > len(largest) {
			largest = circle
		}
	}
	return largest
}
