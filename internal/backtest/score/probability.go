package score

import (
	"math"
	"slices"
	"sort"
)

// Isotonic turns a score into a probability: the best that never falls as the score rises,
// fitted where the truth is known.
type Isotonic struct {
	from  []float32 // the score from which value holds, rising
	value []float64
}

// FitIsotonic pools adjacent violators. It sorts js by falling score.
func FitIsotonic(js []Judged) Isotonic {
	slices.SortFunc(js, byScore)
	type block struct {
		from    float32
		n, hits float64
	}
	var blocks []block
	for i := len(js) - 1; i >= 0; {
		b := block{from: js[i].Score}
		for ; i >= 0 && js[i].Score == b.from; i-- {
			b.n++
			if js[i].Hit {
				b.hits++
			}
		}
		for len(blocks) > 0 {
			last := blocks[len(blocks)-1]
			if last.hits*b.n < b.hits*last.n {
				break
			}
			b = block{last.from, last.n + b.n, last.hits + b.hits}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	var f Isotonic
	for _, b := range blocks {
		f.from = append(f.from, b.from)
		f.value = append(f.value, b.hits/b.n)
	}
	return f
}

// Probability of a hit at score; what lies below all that was seen is like the lowest.
func (f Isotonic) Probability(score float32) float64 {
	if len(f.from) == 0 {
		return 0
	}
	i := sort.Search(len(f.from), func(i int) bool { return f.from[i] > score })
	return f.value[max(0, i-1)]
}

// CalibrationBins is how many equal bins of probability a calibration table has.
const CalibrationBins = 10

// Reliability collects probabilities and what came of them. It adds up over runs.
type Reliability struct {
	N    int     `json:"n"`
	Hits int     `json:"hits"`
	Sum  float64 `json:"-"` // of (probability - outcome)^2
	Bins [CalibrationBins]Bin
}

// Bin is one bin of a calibration table.
type Bin struct {
	N    int     `json:"n"`
	Hits int     `json:"hits"`
	Sum  float64 `json:"-"` // of the probabilities
}

// Add takes in one prediction and whether it came true.
func (r *Reliability) Add(p float64, hit bool) {
	y := 0.0
	b := &r.Bins[min(CalibrationBins-1, max(0, int(p*CalibrationBins)))]
	if hit {
		y = 1
		b.Hits++
		r.Hits++
	}
	r.N++
	r.Sum += (p - y) * (p - y)
	b.N++
	b.Sum += p
}

// Merge adds the predictions of another run.
func (r *Reliability) Merge(o *Reliability) {
	r.N += o.N
	r.Hits += o.Hits
	r.Sum += o.Sum
	for i := range r.Bins {
		r.Bins[i].N += o.Bins[i].N
		r.Bins[i].Hits += o.Bins[i].Hits
		r.Bins[i].Sum += o.Bins[i].Sum
	}
}

// Brier is the mean squared error of the probabilities.
func (r *Reliability) Brier() float64 { return r.Sum / float64(r.N) }

// Skill is 1 - Brier / the Brier score of always saying the rate of hits. NaN without hits, or with nothing else.
func (r *Reliability) Skill() float64 {
	rate := float64(r.Hits) / float64(r.N)
	if r.Hits == 0 || r.Hits == r.N {
		return math.NaN()
	}
	return 1 - r.Brier()/(rate*(1-rate))
}

// Error is the expected calibration error: the mean distance of a bin's probability
// from its rate of hits, weighted by the bin.
func (r *Reliability) Error() float64 {
	var sum float64
	for _, b := range r.Bins {
		sum += math.Abs(b.Sum - float64(b.Hits))
	}
	return sum / float64(r.N)
}

// Predicted is the mean probability of the bin, Observed its rate of hits.
func (b *Bin) Predicted() float64 { return b.Sum / float64(b.N) }

// Observed is the share of hits in the bin.
func (b *Bin) Observed() float64 { return float64(b.Hits) / float64(b.N) }
