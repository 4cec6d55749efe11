package cli

import (
	"slices"
	"testing"
)

// A negative number is the value of the flag before it; nothing else changes.
func TestJoined(t *testing.T) {
	t.Parallel()
	got := Joined([]string{"plan", "--opens", "-5", "--json", "-h", "--", "-5", "x", "-1"})
	if want := []string{"plan", "--opens=-5", "--json", "-h", "--", "-5", "x", "-1"}; !slices.Equal(got, want) {
		t.Errorf("joined %q, want %q", got, want)
	}
}
