package detector

import "math"

// estimateBits is how many bits an estimate has after its leading one: a relative error of 2^-12, 0.024 %, at most,
// where chance alone moves a thousand ports by 3 %. The 41 bits below them are noise, which servers that keep samples
// cannot compress.
const (
	estimateBits = 11
	noiseBits    = 52 - estimateBits
)

// nearlyCertain is the highest estimate below 1.
const nearlyCertain = 1 - 1.0/(1<<(estimateBits+1))

// Estimate returns the nearest number to x that has twelve significant bits, of two the even one, so that a sum over
// many nodes has no bias. The step grows with x: what is small stays exact to the same share of itself. 0, infinities,
// NaN and whole numbers up to 4096 come back as they are; the order of two numbers does not turn.
func Estimate(x float64) float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return x
	}
	bits := math.Float64bits(x)
	bits += 1<<(noiseBits-1) - 1 + bits>>noiseBits&1
	return math.Float64frombits(bits &^ (1<<noiseBits - 1))
}

// Estimated returns f with each number as Estimate gives it. What is not certain stays so: a probability below 1 stays
// below 1. A snapshot has forecasts of this kind only, so that the page, the API and the metrics tell one number.
func (f *Forecast) Estimated() Forecast {
	out := *f
	out.TimeToExhaustion, out.Urgency = Estimate(f.TimeToExhaustion), float32(Estimate(float64(f.Urgency)))
	for h := range out.Mean {
		out.Mean[h], out.Variance[h] = Estimate(f.Mean[h]), Estimate(f.Variance[h])
		if out.Probability[h] = Estimate(f.Probability[h]); f.Probability[h] < 1 {
			out.Probability[h] = min(out.Probability[h], nearlyCertain)
		}
	}
	return out
}
