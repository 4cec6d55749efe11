#!/usr/bin/env bash
# VividCortex/ewma: an average of age 30 knows the value from the first sample on, one of age 29 or 31 says 0 for ten samples.
#
# Guess: NewMovingAverage(30) and NewMovingAverage(31) differ in how fast they follow, and in nothing else; the first sample
# is the average of one.
# Seen: 30 is the age for which another type is made, which begins with the first sample. Every other age has to warm up: Value
# is 0, not an error, until the eleventh sample. A rate that is sampled once a minute and forecast from the average is 0
# for ten minutes after each start, so that nothing runs out; a change of the age from the default to anything brings that
# with it. Set, with the first value, ends it.
# Seen with github.com/VividCortex/ewma v1.2.0. Source: ewma.go of the module.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module average

go 1.26.0

require github.com/VividCortex/ewma v1.2.0
END
cat >main.go <<'END'
package main

import (
	"fmt"

	"github.com/VividCortex/ewma"
)

func main() {
	for _, age := range []float64{29, 30, 31} {
		a := ewma.NewMovingAverage(age)
		fmt.Printf("age %v, samples of 100:", age)
		for range 12 {
			a.Add(100)
			fmt.Printf(" %.0f", a.Value())
		}
		fmt.Println()
	}
	a := ewma.NewMovingAverage(29)
	a.Set(100)
	a.Add(100)
	fmt.Printf("age 29, set to 100, one sample of 100: %.0f\n", a.Value())
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o average .
go version -m average | awk '/VividCortex\/ewma/ { print $2, $3 }'
./average | tee seen
cat >expected <<'END'
age 29, samples of 100: 0 0 0 0 0 0 0 0 0 0 100 100
age 30, samples of 100: 100 100 100 100 100 100 100 100 100 100 100 100
age 31, samples of 100: 0 0 0 0 0 0 0 0 0 0 100 100
age 29, set to 100, one sample of 100: 100
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
