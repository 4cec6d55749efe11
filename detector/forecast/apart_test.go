package forecast

import "testing"

// What components differ by all the time is in the tail of past errors already; what one of them alone foresees is not.
func TestApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ d, least, most float64 }{
		{0.5, 0, 0.1},
		{-1, -0.35, -0.25},
		{2, 1.2, 1.4},
		{8, 7.5, 8},
		{-8, -8, -7.5},
	} {
		const sd = 30
		if got := apart(c.d*sd, sd) / sd; got < c.least || got > c.most {
			t.Errorf("%g standard deviations apart count as %g, want %g to %g", c.d, got, c.least, c.most)
		}
	}
}
