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

// A name is meant that differs in at most a third of its letters, the nearest of them.
func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"vips", "vip_count", "nodes", "nodes_file", "model"}
	for text, want := range map[string]string{
		"vip": "vips", "node": "nodes", "nodefile": "nodes_file", "modell": "model", "pool": "", "at": "", "": "",
		"vip_counts": "vip_count", "spaces": "",
	} {
		if got := Nearest(text, names); got != want {
			t.Errorf("%q: %q is meant, want %q", text, got, want)
		}
	}
}
