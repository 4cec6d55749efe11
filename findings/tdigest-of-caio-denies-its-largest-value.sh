#!/usr/bin/env bash
# caio/go-tdigest says that nothing is above a limit, though the largest value, which it returns as a quantile, is.
#
# Guess: CDF(x) is the share of values up to x, and the inverse of Quantile: if a quantile is above 240 s, CDF(240) is below 1.
# Seen: from half way between the last two of the points that it keeps, CDF is 1. Of ten lifetimes, nine below 10 s and one of 400 s,
# CDF(240) is 1, "no connection outlives an idle limit of four minutes", while Quantile(0.99) is above 240 s. It is so with a
# hundred and with a thousand values, and it is the rare long ones, for which one keeps a digest, that are denied.
# influxdata/tdigest, of the same values, keeps CDF and Quantile in step.
# Seen with github.com/caio/go-tdigest/v4 v4.1.0 and github.com/influxdata/tdigest v0.0.1. Source: CDF in
# tdigest.go of the former.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module digest

go 1.26.0

require (
	github.com/caio/go-tdigest/v4 v4.1.0
	github.com/influxdata/tdigest v0.0.1
)
END
cat >main.go <<'END'
package main

import (
	"fmt"

	"github.com/caio/go-tdigest/v4"
	influx "github.com/influxdata/tdigest"
)

func main() {
	for _, n := range []int{10, 100, 1000} {
		a, err := tdigest.New()
		if err != nil {
			panic(err)
		}
		b := influx.NewWithCompression(100)
		add := func(lifetime float64) {
			if err := a.Add(lifetime); err != nil {
				panic(err)
			}
			b.Add(lifetime, 1)
		}
		for i := 1; i < n; i++ {
			add(float64(i) * 10 / float64(n))
		}
		add(400)
		q := 1 - 0.1/float64(n)
		fmt.Printf("%d lifetimes below 10 s and one of 400 s:\n", n-1)
		fmt.Printf("  caio:       CDF(240) %.5f, Quantile(%g) above 240: %t\n", a.CDF(240), q, a.Quantile(q) > 240)
		fmt.Printf("  influxdata: CDF(240) %.5f, Quantile(%g) above 240: %t\n", b.CDF(240), q, b.Quantile(q) > 240)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o digest .
go version -m digest | awk '$2 ~ /tdigest/ { print $2, $3 }'
./digest | tee seen
cat >expected <<'END'
9 lifetimes below 10 s and one of 400 s:
  caio:       CDF(240) 1.00000, Quantile(0.99) above 240: true
  influxdata: CDF(240) 0.90908, Quantile(0.99) above 240: true
99 lifetimes below 10 s and one of 400 s:
  caio:       CDF(240) 1.00000, Quantile(0.999) above 240: true
  influxdata: CDF(240) 0.99090, Quantile(0.999) above 240: true
999 lifetimes below 10 s and one of 400 s:
  caio:       CDF(240) 1.00000, Quantile(0.9999) above 240: true
  influxdata: CDF(240) 0.99909, Quantile(0.9999) above 240: true
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
