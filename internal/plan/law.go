package plan

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Law is a distribution of lifetimes: atoms in ascending order whose shares sum to 1.
type Law []Atom

// Atom is a lifetime, in seconds, and the share of flows that live so long.
type Atom struct {
	Seconds float64 `json:"seconds"`
	Share   float64 `json:"share"`
}

// NewLaw normalises shares. Its error says which lifetime or share is none.
func NewLaw(atoms []Atom) (Law, error) {
	total := 0.0
	for _, a := range atoms {
		if !(a.Seconds >= 0) || math.IsInf(a.Seconds, 0) {
			return nil, fmt.Errorf("lifetime %v s: want 0 or more", a.Seconds)
		}
		if !(a.Share >= 0) || math.IsInf(a.Share, 0) {
			return nil, fmt.Errorf("share %v of lifetime %v s: want 0 or more", a.Share, a.Seconds)
		}
		total += a.Share
	}
	if total == 0 {
		return nil, errors.New("no lifetimes")
	}
	l := Law(slices.Clone(atoms))
	for i := range l {
		l[i].Share /= total
	}
	slices.SortFunc(l, func(a, b Atom) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return l, nil
}

// ParseLaw reads "2s", one lifetime for all flows, or "50ms:0.9,30s:0.1", lifetimes with their shares.
func ParseLaw(text string) (Law, error) {
	var atoms []Atom
	for part := range strings.SplitSeq(text, ",") {
		life, share, given := strings.Cut(strings.TrimSpace(part), ":")
		d, err := time.ParseDuration(life)
		if err != nil {
			return nil, fmt.Errorf("lifetime %q: want a duration such as 2s, or 50ms:0.9,30s:0.1", part)
		}
		a := Atom{d.Seconds(), 1}
		if given {
			if a.Share, err = strconv.ParseFloat(share, 64); err != nil {
				return nil, fmt.Errorf("share %q of lifetime %s: want a number", share, life)
			}
		}
		atoms = append(atoms, a)
	}
	return NewLaw(atoms)
}

// HistogramLaw makes a law of a histogram of lifetimes: an atom for each bucket, at the geometric mean of its
// bounds, all moved so that the mean is the measured one. counts has one more than bounds.
func HistogramLaw(bounds []float64, counts []float64, sum float64) (Law, error) {
	if len(bounds) == 0 || len(counts) != len(bounds)+1 {
		return nil, fmt.Errorf("histogram of %d bounds and %d counts", len(bounds), len(counts))
	}
	var atoms []Atom
	for i, n := range counts {
		at := bounds[0] / 2
		switch {
		case i == len(bounds):
			at = bounds[i-1] * math.Sqrt2
		case i > 0:
			at = math.Sqrt(bounds[i-1] * bounds[i])
		}
		if n > 0 {
			atoms = append(atoms, Atom{at, n})
		}
	}
	l, err := NewLaw(atoms)
	if err != nil {
		return nil, err
	}
	total := 0.0
	for _, n := range counts {
		total += n
	}
	if mean := l.Mean(); sum > 0 && mean > 0 {
		for i := range l {
			l[i].Seconds *= sum / total / mean
		}
	}
	return l, nil
}

// Mean is the mean lifetime in seconds.
func (l Law) Mean() float64 { return l.CutMean(math.Inf(1)) }

// CutMean is the mean when no flow lives longer than t seconds.
func (l Law) CutMean(t float64) float64 {
	m := 0.0
	for _, a := range l {
		m += a.Share * min(a.Seconds, t)
	}
	return m
}

// Pieces is the mean number of flows that a flow becomes when it is split into pieces of t seconds. A flow no longer
// than t stays one, where both are 0 too.
func (l Law) Pieces(t float64) float64 {
	n := 0.0
	for _, a := range l {
		pieces := 1.0
		if a.Seconds > t {
			pieces = math.Ceil(a.Seconds / t)
		}
		n += a.Share * pieces
	}
	return n
}

// Quantile is the lifetime that a share q of flows does not exceed.
func (l Law) Quantile(q float64) float64 {
	sum := 0.0
	for _, a := range l {
		if sum += a.Share; sum >= q-1e-12 {
			return a.Seconds
		}
	}
	return 0
}

// Scaled is the law with that mean, in seconds. A law of nothing but 0 becomes one of the mean.
func (l Law) Scaled(mean float64) Law {
	old := l.Mean()
	if old == 0 {
		return Law{{mean, 1}}
	}
	out := slices.Clone(l)
	for i := range out {
		out[i].Seconds *= mean / old
	}
	return out
}
