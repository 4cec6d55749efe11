package score

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A page is raised at one level and cleared at another, kept for a minute, and looked for every 20 s here.
func TestPager(t *testing.T) {
	t.Parallel()
	// Ticks of 10 s; episodes at 30 and at 60, the second without a page.
	held := repeat(120, 50)
	held[30], held[60] = 100, 100
	tr := truthOf(held...)
	p := Pager{Raise: 0.2, Clear: 0.15, Keep: 6, Every: 2}
	for k := range held {
		said := 0.1
		switch {
		case k >= 4 && k <= 6: // false, and at the start
			said = 0.2
		case k == 17: // between two looks
			said = 0.9
		case k >= 20 && k < 25:
			said = 0.3
		case k >= 25 && k < 30: // held on
			said = 0.16
		case k >= 80 && k < 90: // not raised
			said = 0.19
		case k == 100: // false
			said = 1
		}
		p.Step(k, said, said, false)
	}
	want := []Span{{4, 12}, {20, 34}, {100, 106}}
	if diff := cmp.Diff(want, p.Spans); diff != "" {
		t.Errorf("pages (-want +got)\n%s", diff)
	}
	got := p.Judge(tr, []int{0}, time.Minute)
	if diff := cmp.Diff(Pages{Episodes: 2, Leads: []float64{60}, False: 2, AtStart: 1, Starts: 1, Watched: 1200, On: 260}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	got.Merge(&got)
	if got.False != 4 || got.Detected() != 0.5 || got.FalsePerDay() != 4.0/2400*86400 {
		t.Errorf("merged: %+v", got)
	}
}

// Where ports are scarce, the page stays longer after the last time that it was likely, and raises nothing.
func TestPagerStaysWhilePortsAreScarce(t *testing.T) {
	t.Parallel()
	p := Pager{Raise: 0.3, Clear: 0.15, Keep: 2, ScarceKeep: 10, Every: 1}
	for k := range 100 {
		said := 0.0
		switch k {
		case 10, 50: // 10 ticks longer, and two; relief at 54
			said = 0.3
		case 80: // it does not hold what is off
			said = 0.2
		}
		p.Step(k, said, said, k < 54)
	}
	want := []Span{{10, 22}, {50, 55}}
	if diff := cmp.Diff(want, p.Spans); diff != "" {
		t.Errorf("pages (-want +got)\n%s", diff)
	}
}
