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

	"github.com/google/go-cmp/cmp"
)

// circleMax is how many files of a package may use each other in a circle.
const circleMax = 7

// A file that uses what another declares is read after it. Files that use each other in a circle must be read together,
// so a circle has few. Tests do not count.
func TestFilesLookOneWay(t *testing.T) {
	t.Parallel()
	packages, exports := compiledPackages(t)
	set := token.NewFileSet()
	from := importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	using := 0
	for _, p := range packages {
		uses := p.uses(t, set, from)
		using += len(uses)
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, circle := range circlesOf(uses) {
			if len(circle) > circleMax {
				t.Errorf("%s has a circle of %d files, want at most %d: %s",
					name, len(circle), circleMax, strings.Join(circle, " "))
			}
		}
	}
	if len(packages) < 40 || using < 250 {
		t.Errorf("only %d packages were found, and %d files that use others", len(packages), using)
	}
}

// A file uses another by a type, a field, a method, a function or a constant of it, and not by a name of its own that
// is the same.
func TestUses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := compiledPackage{ImportPath: "p", Dir: dir}
	for name, text := range map[string]string{
		"type.go":   "type thing struct{ part int }",
		"method.go": "func (t thing) whole() int { return 1 }",
		"const.go":  "const most = 7",
		"field.go":  "func field(t *struct{ in thing }) int { return t.in.part }",
		"call.go":   "func call() int { return thing{}.whole() }",
		"bound.go":  "func bound() int { return most + field(nil) }",
		"local.go":  "func local() int { most, part := 1, 2; return most + part }",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("package p\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		p.GoFiles = append(p.GoFiles, name)
	}
	want := map[string]map[string]bool{
		"method.go": {"type.go": true}, "field.go": {"type.go": true}, "call.go": {"type.go": true, "method.go": true},
		"bound.go": {"const.go": true, "field.go": true},
	}
	if diff := cmp.Diff(want, p.uses(t, token.NewFileSet(), nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A circle is found wherever it begins, and what only leads to it or away from it is no part of it.
func TestCirclesOf(t *testing.T) {
	t.Parallel()
	uses := map[string]map[string]bool{
		"a": {"b": true}, "b": {"c": true, "f": true}, "c": {"d": true}, "d": {"b": true, "e": true},
		"f": {"g": true}, "g": {"f": true},
	}
	got := circlesOf(uses)
	want := [][]string{{"b", "c", "d"}, {"f", "g"}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("circles %v, want %v", got, want)
	}
}

// circlesOf returns each circle of files, sorted.
func circlesOf(uses map[string]map[string]bool) (circles [][]string) {
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
		if slices.Sort(circle); len(circle) > 0 && circle[0] == file {
			circles = append(circles, circle)
		}
	}
	slices.SortFunc(circles, slices.Compare)
	return circles
}

// compiledPackage is what go list tells of a package of this module.
type compiledPackage struct {
	ImportPath, Export, Dir string
	GoFiles                 []string
}

// uses lists for each file of the package the other files whose functions, types, methods, fields, constants or
// variables it names.
func (p *compiledPackage) uses(t *testing.T, set *token.FileSet, from types.Importer) map[string]map[string]bool {
	t.Helper()
	var parsed []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	checked, err := (&types.Config{Importer: from}).Check(p.ImportPath, set, parsed, &info)
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
		by, of := filepath.Base(set.Position(id.Pos()).Filename), filepath.Base(set.Position(o.Pos()).Filename)
		if by == of {
			continue
		}
		if uses[by] == nil {
			uses[by] = map[string]bool{}
		}
		uses[by][of] = true
	}
	return uses
}

// compiledPackages lists the packages of this module, and where the compiled form of each package is that they import.
func compiledPackages(t *testing.T) (ours []compiledPackage, exports map[string]string) {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles", module+"...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports = map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p compiledPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return ours, exports
		}
		if err != nil {
			t.Fatal(err)
		}
		if exports[p.ImportPath] = p.Export; strings.HasPrefix(p.ImportPath, module) && len(p.GoFiles) > 0 {
			ours = append(ours, p)
		}
	}
}
