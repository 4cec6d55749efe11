package budget_test

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/golden"
)

// The table of models in the README is the table of the code: go test ./detector/budget -update writes it anew.
func TestReadmeHasTheModels(t *testing.T) {
	t.Parallel()
	const begin, end = "| model | |\n|---|---|\n", "\n\n"
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := bytes.Cut(text, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !found || !closed {
		t.Fatalf("README.md: want a table that begins with %q", begin)
	}
	var want bytes.Buffer
	want.Write(before)
	want.WriteString(begin)
	for _, m := range budget.Models() {
		fmt.Fprintf(&want, "| `%s` | %s |\n", m.Name, m.Summary)
	}
	want.WriteString("\n")
	want.Write(after)
	golden.Compare(t, "README.md", want.String())
}
