package detector

import (
	"math"
	"testing"
	"time"
)

func TestPageUrgency(t *testing.T) {
	t.Parallel()
	const second, long = time.Second, 240 * time.Second
	for _, tt := range []struct {
		name   string
		before float64
		now    PageNow
		want   float64
	}{
		{"calm", 0, PageNow{Ceiling: 1024}, 0},
		{"far from the ceiling the next minute weighs as much", 0, PageNow{Soon: 0.1, Within: 0.7, Held: 600, Ceiling: 1024}, 0.44},
		{"it is a page there at 0.9", 0, PageNow{Soon: 0.02, Within: 0.9, Held: 600, Ceiling: 1024}, 0.506},
		{"close to the ceiling it does not", 0, PageNow{Soon: 0.1, Within: 0.7, Held: 960, Ceiling: 1024}, 0.77},
		{"one port short of close", 0, PageNow{Within: 0.7, Held: 959, Ceiling: 1024}, 0.385},
		{"of eight ports three are close", 0, PageNow{Within: 0.5, Held: 3, Ceiling: 8}, 0.55},
		{"lifetimes surely grew", 0, PageNow{Soon: 0.1, Within: 0.8, Held: 600, Ceiling: 1024, Slower: 1}, 0.64},
		{"as likely as not they did", 0, PageNow{Soon: 0.1, Within: 0.8, Held: 600, Ceiling: 1024, Slower: 0.5}, 0.5675},
		{"not above 1", 0, PageNow{Soon: 0.99, Within: 0.999, Held: 1000, Ceiling: 1024, Slower: 1}, 1},
		{
			"a second of the 40 in which it rises where ports cool down for 240",
			0.1,
			PageNow{Soon: 0.9, Within: 0.9, Ceiling: 1024, Passed: second, CoolDown: long},
			0.125,
		},
		{"it falls at once", 0.9, PageNow{Soon: 0.1, Within: 0.1, Ceiling: 1024, Passed: second, CoolDown: long}, 0.11},
		{
			"grown lifetimes do not wait", 0.1,
			PageNow{Soon: 0.1, Within: 0.7, Ceiling: 1024, Slower: 1, Passed: second, CoolDown: long},
			0.56,
		},
		{"exhausted", 0, PageNow{Soon: 1, Within: 1, Held: 1024, Ceiling: 1024, Passed: second, CoolDown: long}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := PageUrgency(tt.before, tt.now); math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
