package forecast

import "math"

// curve is the survival function of a lifetime, exponential within each bucket.
type curve struct {
	edges *ageEdges
	h     rates
	// At each lower edge: the hazard summed, the share that survives, and its integral, and
	// the integral's integral.
	sum, survive, integral, double [ageBuckets + 1]float64
}

// fit makes the curve from c.h, ends by second lived, and turns these into hazards. As in a life table the
// share that outlives a bucket is told by how many ended in it, wherever in it that was: where all live for
// the same time, nobody outlives it.
func (c *curve) fit() {
	c.sum[0], c.survive[0], c.integral[0], c.double[0] = 0, 1, 0, 0
	for k := range c.h {
		w := c.edges[k+1] - c.edges[k]
		half := min(c.h[k]*w/2, 0.999)
		s := (1 - half) / (1 + half)
		x := math.Log1p(2 * half / (1 - half))
		c.h[k] = x / w
		i, d := exponential(x, s)
		c.sum[k+1] = c.sum[k] + x
		c.survive[k+1] = c.survive[k] * s
		c.integral[k+1] = c.integral[k] + c.survive[k]*w*i
		c.double[k+1] = c.double[k] + c.integral[k]*w + c.survive[k]*w*w*d
	}
}

// exponential gives the integral of e^-xt over t from 0 to 1, and that of the integral,
// where s is e^-x.
func exponential(x, s float64) (integral, double float64) {
	if x < 1e-3 {
		return 1 - x/2 + x*x/6, 0.5 - x/6 + x*x/24
	}
	i := (1 - s) / x
	return i, (1 - i) / x
}

// at is the hazard summed up to age x.
func (c *curve) at(x float64) float64 {
	k := ageBucket(x)
	return c.sum[k] + c.h[k]*(x-c.edges[k])
}

// mean is the integral of the survival function up to x, and the integral of that.
func (c *curve) mean(x float64) (integral, double float64) {
	if x <= 0 {
		return 0, 0
	}
	k := ageBucket(x)
	w := x - c.edges[k]
	y := c.h[k] * w
	i, d := exponential(y, math.Exp(-y))
	return c.integral[k] + c.survive[k]*w*i, c.double[k] + c.integral[k]*w + c.survive[k]*w*w*d
}
