#!/usr/bin/env bash
# OpenTelemetry's SDK for Go: a counter with a label for each destination has 2,000 series, and the rest are one without labels.
#
# Guess: like client_golang the SDK keeps a series for each set of labels, however many; a limit, if there is one, is set by
# whoever wants it, and what passes it is logged.
# Seen: since 1.44 (May 2026) an instrument has 2,000 sets unless set otherwise, and every set that is seen later, however busy, is added
# to one series with the label otel.metric.overflow="true". No error comes back, and nothing is logged. Sums over all series
# are right. Which destinations have a series of their own depends on which were first: after a restart it is others, and an
# alert for each destination is silent for one that came late. WithCardinalityLimit(0) lifts it.
# Seen with go.opentelemetry.io/otel/sdk/metric v1.47.0. Source: sdk/metric/internal/aggregate/limit.go of the module.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module flows

go 1.26.0

require (
	go.opentelemetry.io/otel v1.47.0
	go.opentelemetry.io/otel/metric v1.47.0
	go.opentelemetry.io/otel/sdk/metric v1.47.0
)
END
cat >main.go <<'END'
package main

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// count opens one flow to each of 3,000 destinations, and 10,000 more to the last one.
func count(options ...sdk.Option) {
	ctx := context.Background()
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(append(options, sdk.WithReader(reader))...).Meter("flows")
	opened, err := meter.Int64Counter("flows")
	if err != nil {
		panic(err)
	}
	last := attribute.String("destination", "192.0.2.9:443")
	for i := range 2999 {
		opened.Add(ctx, 1, metric.WithAttributes(attribute.String("destination", fmt.Sprintf("10.0.%d.%d:443", i/250, i%250))))
	}
	opened.Add(ctx, 10_001, metric.WithAttributes(last))
	var all metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &all); err != nil {
		panic(err)
	}
	points := all.ScopeMetrics[0].Metrics[0].Data.(metricdata.Sum[int64]).DataPoints
	var sum int64
	busiest, overflow := "none", int64(0)
	for _, p := range points {
		sum += p.Value
		if v, ok := p.Attributes.Value("destination"); ok && v.AsString() == last.Value.AsString() {
			busiest = fmt.Sprint(p.Value)
		}
		if _, ok := p.Attributes.Value("otel.metric.overflow"); ok {
			overflow = p.Value
		}
	}
	fmt.Printf("%d series; flows of the busiest destination: %s; of the overflow: %d; of all: %d\n", len(points), busiest, overflow, sum)
}

func main() {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { fmt.Println("error:", err) }))
	count()
	count(sdk.WithCardinalityLimit(0))
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o flows .
go version -m flows | awk '/otel\/sdk\/metric/ { print $2, $3 }'
./flows 2>&1 | tee seen
cat >expected <<'END'
2000 series; flows of the busiest destination: none; of the overflow: 11001; of all: 13000
3000 series; flows of the busiest destination: 10001; of the overflow: 0; of all: 13000
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
