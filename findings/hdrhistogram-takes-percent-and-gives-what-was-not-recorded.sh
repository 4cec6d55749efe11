#!/usr/bin/env bash
# HdrHistogram for Go: ValueAtQuantile(0.99) is about the lowest value, and Max is one that was never recorded.
#
# Guess: a quantile is a number from 0 to 1, as in Prometheus, gonum and DDSketch, so that ValueAtQuantile(0.99) is what 99 of 100
# values do not exceed; and Max is the largest value recorded.
# Seen: ValueAtQuantile takes percent, and 0.99 asks for the value below which one of a hundred lies: it compiles, returns without an
# error, and looks like a short lifetime. Max is the upper end of the bucket of the largest value, above it by up to a thousandth
# with three digits. A check by Max that no lifetime was above the limit fails though none was above.
# Seen with github.com/HdrHistogram/hdrhistogram-go v1.4.0. Source: hdr.go of the module.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module histogram

go 1.26.0

require github.com/HdrHistogram/hdrhistogram-go v1.4.0
END
cat >main.go <<'END'
package main

import (
	"fmt"

	"github.com/HdrHistogram/hdrhistogram-go"
)

func main() {
	// Lifetimes of 1 ms to 120 s, in microseconds, with three digits.
	h := hdrhistogram.New(1, 3_600_000_000, 3)
	for i := range int64(120_000) {
		if err := h.RecordValue((i + 1) * 1000); err != nil {
			panic(err)
		}
	}
	fmt.Printf("lifetimes from 1000 to 120000000, evenly: ValueAtQuantile(0.99) %d, ValueAtQuantile(99) %d\n", h.ValueAtQuantile(0.99), h.ValueAtQuantile(99))
	fmt.Printf("Min %d, Max %d\n", h.Min(), h.Max())
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o histogram .
go version -m histogram | awk '/hdrhistogram/ { print $2, $3 }'
./histogram | tee seen
cat >expected <<'END'
lifetimes from 1000 to 120000000, evenly: ValueAtQuantile(0.99) 1188863, ValueAtQuantile(99) 118816767
Min 1000, Max 120061951
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
