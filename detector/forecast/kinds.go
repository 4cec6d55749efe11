package forecast

import (
	"math"

	"github.com/snatwatch/snatwatch/detector"
)

// kindTails are the tails of each kind of load, by horizon; kindShares say how common each is.
type (
	kindTails  [detector.NumHorizons][kinds]tail
	kindShares [detector.NumHorizons][kinds]float32
)

const (
	// kindProof is how much a residual counts: those of one horizon overlap, four at a time.
	kindProof = 0.3
	// kindKeep is how much of that is left at the next residual, as a load may become another.
	kindKeep = 0.98
)

// kindDoubt is by horizon how much of what is common is kept, whatever was seen: minutes ahead there are many residuals
// to tell a kind by, an hour ahead there are none.
func kindDoubt() [detector.NumHorizons]float64 { return [detector.NumHorizons]float64{1, 0.3, 1, 1} }

// kind is what the residuals of a horizon say of each kind: logarithms of how likely they were.
type kind [kinds]float32

// learn takes a residual in bin i.
func (k *kind) learn(i int, tails *[kinds]tail) {
	for n := range k {
		k[n] = kindKeep*k[n] + kindProof*float32(math.Log(float64(tails[n][i])))
	}
}

// shares is how sure each kind is.
func (k *kind) shares(common *[kinds]float32, doubt float64) (share [kinds]float64) {
	top := k[0]
	for _, x := range k[1:] {
		top = max(top, x)
	}
	sum := 0.0
	for n, x := range k {
		share[n] = float64(common[n]) * math.Exp(float64(x-top))
		sum += share[n]
	}
	for n := range share {
		share[n] = doubt*float64(common[n]) + (1-doubt)*share[n]/sum
	}
	return share
}

// TailBins is how many bins a tail has, TailBin the bin of residual r.
const TailBins = tailBins

// TailBin is the bin of a tail that residual r is counted in.
func TailBin(r float64) int { return min(max(int(tailPosition(r)), 0), tailBins-1) }

// Judged is a forecast that is due, with what came.
type Judged struct {
	Horizon int
	// Residual is by how many standard deviations the highest fill was above the one forecast.
	Residual float64
	// Said is the probability, Hit says that the ceiling was reached. Exhausted says that it had been
	// already, so that neither says anything.
	Said           float64
	Hit, Exhausted bool
}
