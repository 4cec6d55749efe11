// Package golden compares what a test got with a file that is committed. Under -update, which every golden file
// and every captured message of the kernel obeys, the tests write the files anew.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files and captured messages anew")

// Update reports whether -update is given.
func Update() bool { return *update }

// Compare fails the test if got differs from the file at path. Under -update it writes the file first.
func Compare(t testing.TB, path, got string) {
	t.Helper()
	if Update() {
		Write(t, path, []byte(got))
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Write writes a file below testdata, and its folder where it is not there.
func Write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
