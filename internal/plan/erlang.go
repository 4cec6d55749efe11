package plan

import "math"

// ErlangB is the share of opens that fail when the load a meets c ports: 0 for no load, 1 for no port.
func ErlangB(c int, a float64) float64 {
	switch {
	case !(a > 0):
		return 0
	case c <= 0:
		return 1
	}
	k, r := start(a)
	if k >= c { // far fewer ports than load
		k, r = 0, 1
	}
	for ; k < c; k++ {
		r = r*float64(k+1)/a + 1
	}
	return 1 / r
}

// start returns a number of ports k far below the load a, and 1/B(k, a). What is wrong with the value there
// is gone by a factor of e^50 at the load.
func start(a float64) (k int, r float64) {
	k = int(a - 10*math.Sqrt(a))
	if k <= 0 {
		return 0, 1
	}
	return k, a / (a - float64(k))
}

// timeToBlock is the mean time, in units of the mean hold, from the middle of the peak until an open finds
// none of c ports: the sum of 1/B(k, a) over k = ⌊a⌋ … c, over a. It stops at enough and is then a lower bound.
func timeToBlock(c int, a, enough float64) float64 {
	if !(a > 0) {
		return math.Inf(1)
	}
	k, r := start(a)
	sum := 0.0
	for from := int(a); k <= c && sum < enough*a; k++ {
		if k >= from {
			sum += r
		}
		r = r*float64(k+1)/a + 1
	}
	return sum / a
}
