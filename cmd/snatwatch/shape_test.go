package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// What a newcomer can hold in mind: a folder of at most 25 files, a file of at most 400 lines, a type of at most 25
// methods. Tests do not count.
func TestPackagesAndTypesStaySmall(t *testing.T) {
	t.Parallel()
	const filesMax, linesMax, methodsMax = 25, 400, 25
	files, methods := map[string]int{}, map[string]int{}
	eachFile(t, func(path, folder string, set *token.FileSet, f *ast.File) {
		if n := set.File(f.Pos()).LineCount(); n > linesMax {
			t.Errorf("%s has %d lines, want at most %d", path, n, linesMax)
		}
		files[folder]++
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv != nil {
				methods[folder+": "+receiver(fn.Recv.List[0].Type)]++
			}
		}
	})
	for folder, n := range files {
		if n > filesMax {
			t.Errorf("%s has %d files, want at most %d", folder, n, filesMax)
		}
	}
	for name, n := range methods {
		if n > methodsMax {
			t.Errorf("%s has %d methods, want at most %d", name, n, methodsMax)
		}
	}
	if len(files) < 20 || len(methods) < 50 {
		t.Errorf("only %d packages and %d types were found", len(files), len(methods))
	}
}

// A function fits on a screen: it has at most 60 lines, unless it is a table.
func TestFunctionsFitOnAScreen(t *testing.T) {
	t.Parallel()
	const linesMax = 60
	tables := map[string]bool{ // of models, tails and metrics
		"detector/budget: Models": true, "detector/budget: gatewayModels": true, "detector/forecast: factoryTails": true,
		"detector/metrics: Metrics": true,
	}
	functions := 0
	eachFile(t, func(path, folder string, set *token.FileSet, f *ast.File) {
		for _, decl := range f.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			functions++
			name := folder + ": " + fn.Name.Name
			n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
			if n > linesMax && !tables[name] {
				t.Errorf("%s: %s has %d lines, want at most %d", path, fn.Name.Name, n, linesMax)
			}
		}
	})
	if functions < 1000 {
		t.Errorf("only %d functions were found", functions)
	}
}

// receiver returns the type's name, without pointer and type parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// eachFile hands each Go file of the tree that is no test to look, with its folder below the top of the tree.
func eachFile(t *testing.T, look func(path, folder string, set *token.FileSet, f *ast.File)) {
	t.Helper()
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		look(path, strings.TrimPrefix(filepath.Dir(path), "../../"), set, f)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
