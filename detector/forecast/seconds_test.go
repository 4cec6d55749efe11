package forecast

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is in the window is counted, at most 255 a second; what is not is refused, and nothing is lost when
// the window moves.
func TestFewSeconds(t *testing.T) {
	t.Parallel()
	f := fewSeconds{}
	for _, c := range []struct {
		name       string
		at         int64
		times      int
		past, want bool // want: all are counted
	}{
		{"the first", 1000, 1, true, true},
		{"the last of the window", 1007, 2, false, true},
		{"before it", 999, 1, false, false},
		{"as many as fit", 1003, 255, false, true},
		{"one more", 1003, 1, false, false},
	} {
		if got := f.past(c.at); got != c.past {
			t.Errorf("%s: past is %v", c.name, got)
		}
		all := true
		for range c.times {
			all = f.add(c.at) && all
		}
		if all != c.want {
			t.Errorf("%s: counted is %v", c.name, all)
		}
	}
	if !f.past(1008) {
		t.Error("the window should be over after eight seconds")
	}
	if diff := cmp.Diff([8]uint8{0: 1, 3: 255, 7: 2}, f.take()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([8]uint8{}, f.take()); diff != "" {
		t.Errorf("what was taken is there again (-want +got):\n%s", diff)
	}
	if f.add(1008); f.first != 1008 {
		t.Errorf("the window begins at %d, want 1008", f.first)
	}
}
