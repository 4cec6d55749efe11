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

// HistogramLaw makes a law of a histogram of lifetimes: an atom for each bucket, within its bounds, all at the same
// part of the way from one bound to the other, which makes the mean the measured one. counts has one more than bounds.
// Each lifetime is known to within the factor that is returned, which is how wide the widest bucket is.
func HistogramLaw(bounds []float64, counts []float64, sum float64) (l Law, within float64, err error) {
	if len(bounds) == 0 || len(counts) != len(bounds)+1 {
		return nil, 0, fmt.Errorf("histogram of %d bounds and %d counts", len(bounds), len(counts))
	}
	at := func(i int, way float64) float64 {
		switch {
		case i == 0:
			return way * bounds[0]
		case i == len(bounds):
			return bounds[i-1] * math.Exp2(way)
		}
		return bounds[i-1] * math.Pow(bounds[i]/bounds[i-1], way)
	}
	place := func(way float64) Law {
		var atoms []Atom
		for i, n := range counts {
			if n > 0 {
				atoms = append(atoms, Atom{at(i, way), n})
			}
		}
		l, err = NewLaw(atoms)
		return l
	}
	if place(0.5); err != nil {
		return nil, 0, err
	}
	total := 0.0
	within = 1
	for i, n := range counts {
		total += n
		if n > 0 && i > 0 { // the first bucket begins at 0: what is in it is too short to matter
			within = max(within, at(i, 1)/at(i, 0))
		}
	}
	if sum <= 0 {
		return place(0.5), within, nil
	}
	low, high := 0.0, 1.0
	for range 50 {
		if mid := (low + high) / 2; place(mid).Mean() < sum/total {
			low = mid
		} else {
			high = mid
		}
	}
	l = place(high)
	if last := len(l) - 1; counts[len(bounds)] > 0 { // what no other bucket can have is of the one without an end
		l[last].Seconds += max(0, sum/total-l.Mean()) / l[last].Share
	}
	return l.WithMean(sum / total), within, nil // a sum may not go with the counts
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

// WithMean is the law nearest to this one that has that mean, in seconds: flows live as long as they did, and other
// shares of them do. Of all laws with that mean it has the least relative entropy to this one. A mean beyond the
// longest lifetime or below the shortest becomes the one lifetime of all.
func (l Law) WithMean(mean float64) Law {
	first, last := l[0].Seconds, l[len(l)-1].Seconds
	if mean <= first || mean >= last {
		return Law{{mean, 1}}
	}
	// Shares grow by e^(tilt × lifetime); the lifetime counts from the end that grows, so that nothing overflows.
	tilted := func(tilt float64) Law {
		from := first
		if tilt > 0 {
			from = last
		}
		out, total := slices.Clone(l), 0.0
		for i := range out {
			out[i].Share *= math.Exp(tilt * (out[i].Seconds - from))
			total += out[i].Share
		}
		for i := range out {
			out[i].Share /= total
		}
		return out
	}
	low, high := -1/last, 1/last
	for tilted(low).Mean() > mean {
		low *= 2
	}
	for tilted(high).Mean() < mean {
		high *= 2
	}
	for range 60 {
		if mid := (low + high) / 2; tilted(mid).Mean() < mean {
			low = mid
		} else {
			high = mid
		}
	}
	return tilted((low + high) / 2)
}
