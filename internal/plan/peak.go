package plan

import "math"

// LoadOfPeak is the mean load, in ports, of a peak of that length in which the most ports held were most: half of such
// peaks hold more. hold is the mean hold time; both are in seconds.
func LoadOfPeak(most int, length, hold float64) float64 {
	if most <= 0 {
		return 0
	}
	low, high := 0.0, float64(most)+1
	for range 60 {
		a := (low + high) / 2
		if timeToBlock(most-1, a, 1e12)*hold > length/math.Ln2 {
			low = a
		} else {
			high = a
		}
	}
	return low
}

// LoadOfBlocking is the load at which c ports fail a share of opens; +Inf for a share of 1.
func LoadOfBlocking(c int, share float64) float64 {
	switch {
	case share <= 0:
		return 0
	case share >= 1:
		return math.Inf(1)
	}
	low, high := 0.0, 1.0
	for ErlangB(c, high) < share {
		high *= 2
	}
	for range 60 {
		if a := (low + high) / 2; ErlangB(c, a) < share {
			low = a
		} else {
			high = a
		}
	}
	return high
}
