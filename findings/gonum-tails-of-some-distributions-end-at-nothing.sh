#!/usr/bin/env bash
# gonum: the probability of a Poisson variable above 200, with mean 100, is 0, and that of a binomial one above 250, with the
# same mean, is 10^26 times too large.
#
# Guess: Survival is there because 1 - CDF has no digits left in the tail: it is accurate there, as it is for gonum's gamma and
# exponential distributions.
# Seen: for Poisson, binomial, normal and lognormal it is no better than 1 - CDF: below 1e-16 it is 0 or rounding noise. The tail of
# a Poisson distribution can be had from the gamma distribution of the same module, which has 4.6e-19. Whoever compares the
# odds of two models, or takes the logarithm of such a probability, as one does to sum up evidence of a change in the rate of
# flows, divides by zero at the strongest evidence.
# Seen with gonum.org/v1/gonum v0.17.0. Source: stat/distuv/poisson.go, binomial.go, norm.go and lognormal.go of the module.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module tails

go 1.26.0

require gonum.org/v1/gonum v0.17.0
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"math"
	"math/big"

	"gonum.org/v1/gonum/stat/distuv"
)

// binomial is the exact probability of more than k successes of n with probability 1/10.
func binomial(n, k int64) float64 {
	sum, term := new(big.Int), new(big.Int)
	for i := k + 1; i <= n; i++ {
		term.Binomial(n, i)
		sum.Add(sum, term.Mul(term, new(big.Int).Exp(big.NewInt(9), big.NewInt(n-i), nil)))
	}
	p, _ := new(big.Rat).SetFrac(sum, term.Exp(big.NewInt(10), big.NewInt(n), nil)).Float64()
	return p
}

// poisson is the probability of more than k events where mean are expected, added up from the smallest term.
func poisson(mean float64, k int) float64 {
	sum := 0.0
	for i := k + 400; i > k; i-- {
		g, _ := math.Lgamma(float64(i) + 1)
		sum += math.Exp(float64(i)*math.Log(mean) - mean - g)
	}
	return sum
}

func main() {
	fmt.Printf("Poisson, mean 100, above 200: %.2g, true %.2g\n", distuv.Poisson{Lambda: 100}.Survival(200), poisson(100, 200))
	fmt.Printf("the same by the gamma distribution: %.2g\n", distuv.Gamma{Alpha: 201, Beta: 1}.CDF(100))
	fmt.Printf("binomial, 1000 of 1/10, above 250: %.2g, true %.2g\n", distuv.Binomial{N: 1000, P: 0.1}.Survival(250), binomial(1000, 250))
	fmt.Printf("normal, above 9 deviations: %.2g, true %.2g\n", distuv.UnitNormal.Survival(9), math.Erfc(9/math.Sqrt2)/2)
	fmt.Printf("lognormal, above exp(9): %.2g\n", distuv.LogNormal{Sigma: 1}.Survival(math.Exp(9)))
	fmt.Printf("exponential, above 60 means: %.2g, true %.2g\n", distuv.Exponential{Rate: 1}.Survival(60), math.Exp(-60))
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o tails .
go version -m tails | awk '/gonum/ { print $2, $3 }'
./tails | tee seen
cat >expected <<'END'
Poisson, mean 100, above 200: 0, true 4.6e-19
the same by the gamma distribution: 4.6e-19
binomial, 1000 of 1/10, above 250: 1.1e-16, true 1.1e-42
normal, above 9 deviations: 0, true 1.1e-19
lognormal, above exp(9): 0
exponential, above 60 means: 8.8e-27, true 8.8e-27
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
