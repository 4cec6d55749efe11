package forecast

import "math"

// Lifetimes that change are often those of before times a factor: a store that is slow is so for all. Ages that no flow
// has reached since then tell nothing of it, and their hazards are taken from younger ones.

const (
	// stretchFrom is how likely lifetimes have changed before a factor is looked for.
	stretchFrom = 0.02
	// stretchLeast and stretchMost bound the factor, in buckets of ages: two an octave.
	stretchLeast, stretchMost = -4, 4
	// stretchBefore is by how many seconds lifetimes change before it shows.
	stretchBefore = 3
	// stretchProof is the logarithm of how much likelier a factor has to make the ends of the last seconds.
	stretchProof = 8
)

// stretch makes h the hazards of lifetimes that differ by the factor under which the ends of the last seconds are
// likeliest, the surer the farther. Only ages count that a flow can have reached since lifetimes changed.
func (o tick) stretch(h *rates) {
	o.stretched = 0
	if o.suspected < stretchFrom {
		return
	}
	const step = math.Ln2 / 2
	seen := &o.speeds[fast]
	young := ageBucket(max(o.last-float64(o.suspectedAt)+stretchBefore, 1))
	var logs rates
	for k, x := range h {
		logs[k] = math.Log(x)
	}
	var likely [stretchMost - stretchLeast + 1]float64
	best := 0
	for i := range likely {
		by := i + stretchLeast
		slower, sum := math.Exp(-step*float64(by)), 0.0
		for k := range young {
			j := min(max(k-by, 0), ageBuckets-1)
			sum += float64(seen.ended[k])*(logs[j]-step*float64(by)) - float64(seen.lived[k])*h[j]*slower
		}
		likely[i] = sum
		if sum > likely[best] {
			best = i
		}
	}
	gain := likely[best] - likely[-stretchLeast]
	if gain <= 0 {
		return
	}
	by := float64(best + stretchLeast)
	if best > 0 && best < len(likely)-1 {
		// The top of the parabola through the best and its neighbours.
		a, b, c := likely[best-1], likely[best], likely[best+1]
		by += (a - c) / (2 * (a - 2*b + c))
	}
	sure := 1 / (1 + math.Exp(min(stretchProof-gain, 500)))
	o.stretched = float32(sure)
	whole := math.Floor(by)
	part := by - whole
	for k := range h {
		j := min(max(k-int(whole), 0), ageBuckets-1)
		i := max(j-1, 0)
		then := logs[j] + part*(logs[i]-logs[j]) - step*by
		h[k] = math.Exp(logs[k] + sure*(then-logs[k]))
	}
}
