package backtest

import (
	"os"
	"strings"
	"testing"
)

// The README names every column, scenario and trace column that there is.
func TestDocsAreComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for name := range aliases() {
		if !strings.Contains(string(text), "`"+name+"`") {
			missing = append(missing, name)
		}
	}
	for _, s := range Scenarios() {
		if !strings.Contains(string(text), "| "+s.Name+" |") && !strings.Contains(string(text), s.Name+",") && !strings.Contains(string(text), ", "+s.Name+" |") {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) > 0 {
		t.Errorf("README.md lacks %q", missing)
	}
}
