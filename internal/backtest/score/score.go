// Package score says how good predictions and warnings were: average precision, F1, episodes, false alarms, leads
// and probabilities against what came.
package score

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// Judged is one prediction for one horizon, and what came of it.
type Judged struct {
	Score float32
	Hit   bool
}

// byScore orders by falling score.
func byScore(a, b Judged) int { return cmp.Compare(b.Score, a.Score) }

// AveragePrecision is the mean of the precision over all hits, each at the lowest score that
// includes it: the area under the step-wise precision-recall curve. Equal scores
// count together. NaN where there is nothing to tell apart: no hit, or nothing else.
func AveragePrecision(parts ...Ranked) float64 {
	all := Pool(parts)
	if len(all.misses) == 0 {
		return math.NaN()
	}
	var hits, seen, sum float64
	j := len(all.misses) - 1
	for i := len(all.Hits) - 1; i >= 0; {
		score, tied := all.Hits[i], 0.0
		for ; i >= 0 && all.Hits[i] == score; i-- {
			tied++
		}
		for ; j >= 0 && all.misses[j] >= score; j-- {
			seen++
		}
		seen += tied
		hits += tied
		sum += tied * hits / seen
	}
	return sum / hits
}

// Confusion counts predictions at a threshold.
type Confusion struct {
	TruePositive, FalsePositive, FalseNegative int
}

// Precision is the share of predictions that were hits; NaN where nothing was predicted.
func (c Confusion) Precision() float64 {
	return float64(c.TruePositive) / float64(c.TruePositive+c.FalsePositive)
}

// Recall is the share of hits that were predicted; NaN without hits.
func (c Confusion) Recall() float64 {
	return float64(c.TruePositive) / float64(c.TruePositive+c.FalseNegative)
}

// Plus returns the sum of both counts.
func (c Confusion) Plus(o Confusion) Confusion {
	return Confusion{c.TruePositive + o.TruePositive, c.FalsePositive + o.FalsePositive, c.FalseNegative + o.FalseNegative}
}

// F1 is the harmonic mean of precision and recall: NaN without hits, 0 when none was found.
func (c Confusion) F1() float64 {
	if c.TruePositive+c.FalseNegative == 0 {
		return math.NaN()
	}
	return 2 * float64(c.TruePositive) / float64(2*c.TruePositive+c.FalsePositive+c.FalseNegative)
}

// Ranked answers for any threshold how many hits and misses score at least that much.
type Ranked struct {
	Hits, misses []float32 // rising
}

// Rank sorts judged predictions by what they said, those that came apart from those that did not.
func Rank(js []Judged) Ranked {
	var r Ranked
	for _, j := range js {
		if j.Hit {
			r.Hits = append(r.Hits, j.Score)
		} else {
			r.misses = append(r.misses, j.Score)
		}
	}
	slices.Sort(r.Hits)
	slices.Sort(r.misses)
	return r
}

// Pool puts parts together.
func Pool(parts []Ranked) Ranked {
	if len(parts) == 1 {
		return parts[0]
	}
	var all Ranked
	for _, p := range parts {
		all.Hits = append(all.Hits, p.Hits...)
		all.misses = append(all.misses, p.misses...)
	}
	slices.Sort(all.Hits)
	slices.Sort(all.misses)
	return all
}

// At counts what a threshold on the probability makes of the predictions.
func (r Ranked) At(threshold float32) Confusion {
	tp := atLeast(r.Hits, threshold)
	return Confusion{tp, atLeast(r.misses, threshold), len(r.Hits) - tp}
}

func atLeast(rising []float32, threshold float32) int {
	return len(rising) - sort.Search(len(rising), func(i int) bool { return rising[i] >= threshold })
}

// FitThreshold returns the threshold with the best macro F1: the mean over groups (scenarios)
// of the F1 of all their runs together, where those have hits.
func FitThreshold(groups []Ranked) float32 {
	const candidates = 300
	var scores []float32
	for _, g := range groups {
		scores = append(scores, g.Hits...)
	}
	slices.Sort(scores)
	scores = slices.Compact(scores)
	best, at := -1.0, float32(math.Inf(1))
	n := min(candidates, len(scores))
	for i := range n {
		c := scores[i*len(scores)/n]
		var f1 Mean
		for _, g := range groups {
			f1.Add(g.At(c).F1())
		}
		if v := f1.Value(); v > best {
			best, at = v, c
		}
	}
	return at
}

// Mean leaves out NaN; it is NaN when nothing was added.
type Mean struct {
	sum float64
	n   int
}

// Add takes x into the mean, unless it is NaN.
func (m *Mean) Add(x float64) {
	if !math.IsNaN(x) {
		m.sum += x
		m.n++
	}
}

// Value returns the mean, NaN of nothing.
func (m *Mean) Value() float64 { return m.sum / float64(m.n) }

// median is NaN of nothing. It sorts xs.
func median(xs []float64) float64 {
	n := len(xs)
	if n == 0 {
		return math.NaN()
	}
	slices.Sort(xs)
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
