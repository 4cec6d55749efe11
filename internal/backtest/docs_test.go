package backtest

import (
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
	"os"
	"strings"
	"testing"
)

// The README names every scenario that there is.
func TestDocsAreComplete(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, s := range scenario.All() {
		if !strings.Contains(string(text), "| "+s.Name+" |") && !strings.Contains(string(text), s.Name+",") && !strings.Contains(string(text), ", "+s.Name+" |") {
			missing = append(missing, s.Name)
		}
	}
	if len(missing) > 0 {
		t.Errorf("README.md lacks %q", missing)
	}
}
