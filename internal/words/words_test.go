package words

import "testing"

// One thing is no plural.
func TestCounted(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0 nodes", 1: "1 node", 2: "2 nodes", 1000: "1000 nodes"} {
		if got := Counted(n, "node", "nodes"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
