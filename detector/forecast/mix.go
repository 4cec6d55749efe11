package forecast

import "math"

// mixLately is the time constant in seconds of the short count of ends by cool-down.
const mixLately = 15

// shift moves share, of the ends of minutes, towards those of the last seconds where a test says that flows have come
// to end in another way: the more surely, the less of share stays.
func (o *Outlook) shift(share *[coolClasses]float64, dt float64) {
	keep := float32(math.Exp(-dt / mixLately))
	n := 0.0
	for k := range o.endedLately {
		n += float64(o.endedLately[k])
	}
	z2 := 0.0
	for k, x := range o.endedLately {
		e := n * share[k]
		z2 += (float64(x) - e) * (float64(x) - e) / (e + 1)
	}
	m := max(2, 60/(1+z2*z2/16))
	for k := range share {
		share[k] = (float64(o.endedLately[k]) + m*share[k]) / (n + m)
		o.endedLately[k] *= keep
	}
}
