package backtest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// The README names every scenario that there is.
func TestDocsAreComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, s := range slices.Concat(scenario.All(), scenario.Loads()) {
		if !strings.Contains(string(text), "| "+s.Name+" |") && !strings.Contains(string(text), s.Name+",") && !strings.Contains(string(text), ", "+s.Name+" |") {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) > 0 {
		t.Errorf("README.md lacks %q", missing)
	}
}
