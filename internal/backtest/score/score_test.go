package score

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var approx = cmp.Options{cmpopts.EquateApprox(0, 1e-9), cmpopts.EquateNaNs()}

func hits(scores ...float32) []Judged {
	var js []Judged
	for _, s := range scores {
		js = append(js, Judged{s, true})
	}
	return js
}

func misses(scores ...float32) []Judged {
	var js []Judged
	for _, s := range scores {
		js = append(js, Judged{s, false})
	}
	return js
}

func TestAveragePrecision(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		js   []Judged
		want float64
	}{
		{"no hit", misses(0.1, 0.2), math.NaN()},
		{"perfect", append(hits(0.9, 0.8), misses(0.1)...), 1},
		// Ranks of the hits are 1, 3 and 5: (1/1 + 2/3 + 3/5) / 3.
		{"mixed", append(hits(0.9, 0.7, 0.5), misses(0.8, 0.6, 0.1)...), (1 + 2.0/3 + 3.0/5) / 3},
		// One score for all: the precision is the rate of hits.
		{"all tied", append(hits(0.5, 0.5), misses(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)...), 0.25},
		// The hit alone on top counts 1/1; the tied pair makes two of four.
		{"a tie below", append(hits(0.9, 0.5), misses(0.5, 0.5)...), (1 + 0.5) / 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, AveragePrecision(Rank(tt.js)), approx); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// Pooling two parts is the same as ranking all at once.
func TestAveragePrecisionPools(t *testing.T) {
	t.Parallel()
	a := append(hits(0.9, 0.2), misses(0.5)...)
	b := append(hits(0.6), misses(0.95, 0.1)...)
	want := AveragePrecision(Rank(append(append([]Judged{}, a...), b...)))
	if got := AveragePrecision(Rank(a), Rank(b)); got != want {
		t.Errorf("pooled %v, at once %v", got, want)
	}
}

func TestConfusion(t *testing.T) {
	t.Parallel()
	r := Rank(append(hits(0.9, 0.7, 0.5), misses(0.8, 0.6, 0.1)...))
	c := r.At(0.6)
	if diff := cmp.Diff(Confusion{TruePositive: 2, FalsePositive: 2, FalseNegative: 1}, c); diff != "" {
		t.Fatalf("at 0.6 (-want +got)\n%s", diff)
	}
	got := []float64{c.Precision(), c.Recall(), c.F1(), r.At(2).F1(), Confusion{FalsePositive: 3}.F1()}
	want := []float64{0.5, 2.0 / 3, 4.0 / 7, 0, math.NaN()}
	if diff := cmp.Diff(want, got, approx); diff != "" {
		t.Errorf("precision, recall, F1 (-want +got)\n%s", diff)
	}
}

// The best single threshold is a compromise between groups; one without hits has no say.
func TestFitThreshold(t *testing.T) {
	t.Parallel()
	groups := []Ranked{
		Rank(append(hits(0.4, 0.8), misses(0.1)...)),
		Rank(append(hits(0.9), misses(0.5, 0.6, 0.65)...)),
		Rank(misses(0.99)),
	}
	// F1 at 0.4 is 1 and 2/5, at 0.8 it is 2/3 and 1, at 0.9 it is 0 and 1.
	if got := FitThreshold(groups); got != 0.8 {
		t.Errorf("threshold %v, want 0.8", got)
	}
	if got := FitThreshold([]Ranked{Rank(misses(1))}); !math.IsInf(float64(got), 1) {
		t.Errorf("without a hit: %v, want +Inf", got)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	got := []float64{median(nil), median([]float64{3}), median([]float64{5, 1, 3}), median([]float64{4, 1, 3, 2})}
	if diff := cmp.Diff([]float64{math.NaN(), 3, 3, 2.5}, got, approx); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestIsotonic(t *testing.T) {
	t.Parallel()
	// By score: 1 miss, 2 hit, 3 miss, 4 hit, hit. 2 and 3 violate and are pooled.
	f := FitIsotonic(append(hits(2, 4, 4), misses(1, 3)...))
	var got []float64
	for _, s := range []float32{0, 1, 2, 3, 3.5, 4, 9} {
		got = append(got, f.Probability(s))
	}
	if diff := cmp.Diff([]float64{0, 0, 0.5, 0.5, 0.5, 1, 1}, got, approx); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := (Isotonic{}).Probability(1); got != 0 {
		t.Errorf("unfitted: %v, want 0", got)
	}
}

func TestReliability(t *testing.T) {
	t.Parallel()
	var r Reliability
	r.Add(0.1, false)
	r.Add(0.3, false)
	r.Add(0.35, true)
	r.Add(1, true)
	// Squares: 0.01, 0.09, 0.4225, 0. The rate is 1/2, so always saying it scores 1/4.
	got := []float64{r.Brier(), r.Skill(), r.Error(), r.Bins[3].Predicted(), r.Bins[3].Observed(), r.Bins[9].Observed()}
	brier := 0.5225 / 4
	want := []float64{brier, 1 - brier/0.25, (0.1 + math.Abs(0.65-1)) / 4, 0.325, 0.5, 1}
	if diff := cmp.Diff(want, got, approx); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	var twice Reliability
	twice.Merge(&r)
	twice.Merge(&r)
	if twice.N != 8 || twice.Skill() != r.Skill() {
		t.Errorf("merged: n %d skill %v, want 8 and %v", twice.N, twice.Skill(), r.Skill())
	}
}

// truthOf makes a truth of a ceiling of 100 from held ports, one per tick of 10 s.
func truthOf(held ...int32) *Truth {
	tr := &Truth{Tick: 10 * time.Second, Held: held}
	for range held {
		tr.Ceiling = append(tr.Ceiling, 100)
	}
	tr.Settle()
	return tr
}

func repeat(n int, x int32) []int32 {
	var xs []int32
	for range n {
		xs = append(xs, x)
	}
	return xs
}

func TestEpisodes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		held []int32
		want []Span
	}{
		{"never", repeat(20, 99), nil},
		// Reached at 2, below 95 from 3 on: 60 s are over at 3 + 6.
		{"one", append([]int32{90, 99, 100}, repeat(20, 94)...), []Span{{2, 9}}},
		{"95 % holds it", append([]int32{100}, repeat(20, 95)...), []Span{{0, 21}}},
		// A second peak within the minute belongs to the same episode.
		{"two peaks", append(append([]int32{100}, repeat(5, 90)...), append([]int32{100}, repeat(20, 90)...)...), []Span{{0, 13}}},
		{"two episodes", append(append([]int32{100}, repeat(8, 90)...), append([]int32{100}, repeat(20, 90)...)...), []Span{{0, 7}, {9, 16}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, truthOf(tt.held...).Episodes, cmp.AllowUnexported(Span{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestExhausts(t *testing.T) {
	t.Parallel()
	tr := truthOf(50, 50, 50, 100, 50, 50, 50, 50, 50, 50, 50, 50, 50)
	tests := []struct {
		k, ahead   int
		yes, known bool
	}{
		{0, 3, true, true},
		{0, 2, false, true},
		{2, 1, true, true},
		{0, 99, true, false}, // nor would a miss be known
		{3, 2, false, true},  // the start itself is not ahead of itself
		{5, 7, false, true},
		{5, 8, false, false},
	}
	for _, tt := range tests {
		if yes, known := tr.Exhausts(tt.k, tt.ahead); yes != tt.yes || known != tt.known {
			t.Errorf("exhausts(%d, %d) = %v, %v, want %v, %v", tt.k, tt.ahead, yes, known, tt.yes, tt.known)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	// Ticks of 10 s; an episode from 20 to 27, and one at 50 that nobody warns of.
	held := repeat(80, 50)
	held[20], held[50] = 100, 100
	tr := truthOf(held...)
	var a AlarmLog
	track := NewTracker(tr.Tick)
	on := map[int]bool{
		5:  true,                     // false: nothing within a minute
		14: true, 15: true, 17: true, // the gap of 20 s is bridged
		60: true, // false
	}
	for k := range held {
		if track.Step(int(held[k]), 100) {
			a.Cut()
			continue
		}
		a.Step(k, on[k], tr.Ticks(MergeGap))
	}
	got := a.Judge(tr, 0, time.Minute)
	want := Warnings{Episodes: 2, Leads: []float64{60}, False: 2, On: 50, Watched: 660}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	// Seen 5 minutes ahead, the first alarm too was right, and the lead is not capped.
	got = a.Judge(tr, 0, 5*time.Minute)
	want = Warnings{Episodes: 2, Leads: []float64{60}, False: 0, On: 50, Watched: 660}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("5 minutes ahead (-want +got)\n%s", diff)
	}
	if got, want := got.Detected(), 0.5; got != want {
		t.Errorf("detected %v, want %v", got, want)
	}
}

// An alarm that is on until the record ends was wrong if nothing came within the horizon of its beginning.
func TestWarningsAtTheEnd(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		on          int // the first tick with the alarm
		exhausted   int // the tick of an episode, -1 for none
		falseAlarms int
	}{
		{"on all day", 0, -1, 1},
		{"on for a minute", 73, -1, 1},
		{"on for less than the horizon", 74, -1, 0},
		{"right in the end", 0, 79, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			held := repeat(80, 50)
			if tt.exhausted >= 0 {
				held[tt.exhausted] = 100
			}
			tr := truthOf(held...)
			var a AlarmLog
			for k := tt.on; k < len(held) && held[k] < 100; k++ {
				a.Step(k, true, tr.Ticks(MergeGap))
			}
			if got := a.Judge(tr, 0, time.Minute).False; got != tt.falseAlarms {
				t.Errorf("%d false alarms, want %d", got, tt.falseAlarms)
			}
		})
	}
}
