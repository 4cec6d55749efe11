package cli

import (
	"slices"
	"testing"
)

// A negative number is the value of the flag before it; nothing else changes.
func TestJoined(t *testing.T) {
	t.Parallel()
	got := joined([]string{"plan", "--opens", "-5", "--json", "-h", "--", "-5", "x", "-1", "--share", "-.5", "--x", "-.", "--"})
	if want := []string{"plan", "--opens=-5", "--json", "-h", "--", "-5", "x", "-1", "--share=-.5", "--x", "-.", "--"}; !slices.Equal(got, want) {
		t.Errorf("joined %q, want %q", got, want)
	}
}
