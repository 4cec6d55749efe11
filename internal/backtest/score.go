package backtest

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// judged is one prediction for one horizon, and what came of it.
type judged struct {
	score float32
	hit   bool
}

// byScore orders by falling score.
func byScore(a, b judged) int { return cmp.Compare(b.score, a.score) }

// averagePrecision is the mean of the precision over all hits, each at the lowest score that
// includes it: the area under the step-wise precision-recall curve. Equal scores
// count together. NaN where there is nothing to tell apart: no hit, or nothing else.
func averagePrecision(parts ...ranked) float64 {
	all := pool(parts)
	if len(all.misses) == 0 {
		return math.NaN()
	}
	var hits, seen, sum float64
	j := len(all.misses) - 1
	for i := len(all.hits) - 1; i >= 0; {
		score, tied := all.hits[i], 0.0
		for ; i >= 0 && all.hits[i] == score; i-- {
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

func (c Confusion) plus(o Confusion) Confusion {
	return Confusion{c.TruePositive + o.TruePositive, c.FalsePositive + o.FalsePositive, c.FalseNegative + o.FalseNegative}
}

// F1 is the harmonic mean of precision and recall: NaN without hits, 0 when none was found.
func (c Confusion) F1() float64 {
	if c.TruePositive+c.FalseNegative == 0 {
		return math.NaN()
	}
	return 2 * float64(c.TruePositive) / float64(2*c.TruePositive+c.FalsePositive+c.FalseNegative)
}

// ranked answers for any threshold how many hits and misses score at least that much.
type ranked struct {
	hits, misses []float32 // rising
}

func rank(js []judged) ranked {
	var r ranked
	for _, j := range js {
		if j.hit {
			r.hits = append(r.hits, j.score)
		} else {
			r.misses = append(r.misses, j.score)
		}
	}
	slices.Sort(r.hits)
	slices.Sort(r.misses)
	return r
}

// pool puts parts together.
func pool(parts []ranked) ranked {
	if len(parts) == 1 {
		return parts[0]
	}
	var all ranked
	for _, p := range parts {
		all.hits = append(all.hits, p.hits...)
		all.misses = append(all.misses, p.misses...)
	}
	slices.Sort(all.hits)
	slices.Sort(all.misses)
	return all
}

func (r ranked) at(threshold float32) Confusion {
	tp := atLeast(r.hits, threshold)
	return Confusion{tp, atLeast(r.misses, threshold), len(r.hits) - tp}
}

func atLeast(rising []float32, threshold float32) int {
	return len(rising) - sort.Search(len(rising), func(i int) bool { return rising[i] >= threshold })
}

// fitThreshold returns the threshold with the best macro F1: the mean over groups (scenarios)
// of the F1 of all their runs together, where those have hits.
func fitThreshold(groups []ranked) float32 {
	const candidates = 300
	var scores []float32
	for _, g := range groups {
		scores = append(scores, g.hits...)
	}
	slices.Sort(scores)
	scores = slices.Compact(scores)
	best, at := -1.0, float32(math.Inf(1))
	n := min(candidates, len(scores))
	for i := range n {
		c := scores[i*len(scores)/n]
		var f1 mean
		for _, g := range groups {
			f1.add(g.at(c).F1())
		}
		if v := f1.value(); v > best {
			best, at = v, c
		}
	}
	return at
}

// mean leaves out NaN; it is NaN when nothing was added.
type mean struct {
	sum float64
	n   int
}

func (m *mean) add(x float64) {
	if !math.IsNaN(x) {
		m.sum += x
		m.n++
	}
}

func (m *mean) value() float64 { return m.sum / float64(m.n) }

// median is NaN of nothing. It sorts xs.
func median(xs []float64) float64 {
	n := len(xs)
	if n == 0 {
		return math.NaN()
	}
	slices.Sort(xs)
	return (xs[(n-1)/2] + xs[n/2]) / 2
}
