#!/usr/bin/env bash
# client_golang's testutil passes any comparison of a bucket, and of a name that is misspelt.
#
# Guess: GatherAndCompare(registry, expected, "hold_seconds_bucket") compares the buckets, as /metrics prints them under that name, and
# fails where they differ or where there is no such name: "only metrics with those names are compared".
# Seen: names are of families, and both sides are cut down to those. hold_seconds_bucket, _sum and _count are no family, nor is a
# misspelt name; nothing is left on either side, and nothing equals nothing. A test that is meant to hold a histogram's buckets, or
# a counter's value, passes whatever they are, also after the metric is renamed. CollectAndCompare does the same.
# GatherAndCount of such a name is 0.
# Seen with github.com/prometheus/client_golang v1.25.0. Source: filterMetrics in prometheus/testutil/testutil.go.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module compare

go 1.26.0

require github.com/prometheus/client_golang v1.25.0
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func main() {
	registry := prometheus.NewRegistry()
	hold := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "hold_seconds", Help: "h", Buckets: []float64{1, 10}})
	opened := prometheus.NewCounter(prometheus.CounterOpts{Name: "opened_total", Help: "o"})
	registry.MustRegister(hold, opened)
	hold.Observe(5)
	opened.Inc()

	// The histogram and the counter with values that are all wrong.
	wrong := `# HELP hold_seconds h
# TYPE hold_seconds histogram
hold_seconds_bucket{le="1"} 100
hold_seconds_bucket{le="10"} 200
hold_seconds_bucket{le="+Inf"} 300
hold_seconds_sum 400
hold_seconds_count 300
# HELP opened_total o
# TYPE opened_total counter
opened_total 500
`
	for _, name := range []string{"hold_seconds", "hold_seconds_bucket", "hold_seconds_sum", "hold_seconds_count", "opened_total", "openned_total"} {
		verdict := "passes"
		if testutil.GatherAndCompare(registry, strings.NewReader(wrong), name) != nil {
			verdict = "fails"
		}
		n, err := testutil.GatherAndCount(registry, name)
		if err != nil {
			panic(err)
		}
		fmt.Printf("wrong values of %s: GatherAndCompare %s, GatherAndCount %d\n", name, verdict, n)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o compare .
go version -m compare | awk '$2 ~ /client_golang/ { print $2, $3 }'
./compare | tee seen
cat >expected <<'END'
wrong values of hold_seconds: GatherAndCompare fails, GatherAndCount 1
wrong values of hold_seconds_bucket: GatherAndCompare passes, GatherAndCount 0
wrong values of hold_seconds_sum: GatherAndCompare passes, GatherAndCount 0
wrong values of hold_seconds_count: GatherAndCompare passes, GatherAndCount 0
wrong values of opened_total: GatherAndCompare fails, GatherAndCount 1
wrong values of openned_total: GatherAndCompare passes, GatherAndCount 0
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
