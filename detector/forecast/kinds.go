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
	// kindProof is how much a residual counts: less than 1, because forecasts of one horizon overlap, four at a time.
	kindProof = 0.3
	// kindKeep is which share of that is kept at each further residual, because a load may turn into another kind.
	kindKeep = 0.98
)

// kindDoubt returns for each horizon how much the shares that are common weigh, whatever a port space has shown. At 5
// minutes there are many residuals to tell a kind by, so they weigh little; elsewhere they are all that counts.
func kindDoubt() [detector.NumHorizons]float64 { return [detector.NumHorizons]float64{1, 0.3, 1, 1} }

// kind has for each kind of load the logarithm of how likely the residuals of a horizon were under it.
type kind [kinds]float32

// learn takes a residual in bin i.
func (k *kind) learn(i int, tails *[kinds]tail) {
	for n := range k {
		k[n] = kindKeep*k[n] + kindProof*float32(math.Log(float64(tails[n][i])))
	}
}

// shares returns the probability of each kind.
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

// TailBins is how many bins a tail has.
const TailBins = tailBins

// TailBin is the bin of a tail that residual r is counted in.
func TailBin(r float64) int { return min(max(int(tailPosition(r)), 0), tailBins-1) }

// Judged is a forecast that is due, with what came.
type Judged struct {
	Horizon int
	// Residual is by how many standard deviations the highest fill was above the one forecast.
	Residual float64
	// Said is the probability that was forecast, Hit says that the ceiling was reached. If Exhausted, it was reached
	// before the forecast, so that neither tells anything.
	Said           float64
	Hit, Exhausted bool
}
