package detector

import "math"

// factoryTails are the tails that a new port space starts with, by horizon.
func factoryTails() [NumHorizons]tail {
	var t [NumHorizons]tail
	for h := range t {
		for i := range t[h] {
			x := (float64(i)+0.5)/tailBins*2 - 1
			r := math.Sinh(x * math.Asinh(tailReach))
			t[h][i] = float32(math.Cosh(x*math.Asinh(tailReach)) / math.Pow(1+r*r/3, 2))
		}
	}
	return t
}

// factoryCalibration are offset and slope of the log-odds, by horizon.
func factoryCalibration() [NumHorizons][2]float64 {
	return [NumHorizons][2]float64{{-0.75, 0.83}, {-0.42, 0.91}, {-0.21, 0.97}, {-0.10, 0.85}}
}
