#!/usr/bin/env bash
# A count of ports that OTLP sends as a gauge of unit "1" is stored by Prometheus as a ratio; as an UpDownCounter it is not.
#
# Guess: "1" is the unit of what has none, in UCUM and in OpenTelemetry, so that ports.used with unit "1" becomes
# ports_used, whichever instrument counts it.
# Seen: a gauge of unit "1" gets the suffix _ratio, so that 64,000 ports are called ports_used_ratio; the same name and unit of
# an UpDownCounter is ports_used. "{port}" in braces adds nothing. "1/s" adds _per_second to a name that says so already,
# while "s" is not added twice. A program that changes its instrument, or corrects its unit, renames its series, and the
# alerts on them find nothing.
# Seen with github.com/prometheus/otlptranslator v1.0.0, which Prometheus and the collector's exporter use. Source:
# metric_namer.go of the module.
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module names

go 1.26.0

require github.com/prometheus/otlptranslator v1.0.0
END
cat >main.go <<'END'
package main

import (
	"fmt"

	otlp "github.com/prometheus/otlptranslator"
)

func main() {
	namer := otlp.NewMetricNamer("", otlp.UnderscoreEscapingWithSuffixes)
	kinds := map[otlp.MetricType]string{otlp.MetricTypeGauge: "gauge", otlp.MetricTypeNonMonotonicCounter: "UpDownCounter"}
	for _, m := range []otlp.Metric{
		{Name: "ports.used", Unit: "1", Type: otlp.MetricTypeGauge},
		{Name: "ports.used", Unit: "1", Type: otlp.MetricTypeNonMonotonicCounter},
		{Name: "ports.used", Unit: "{port}", Type: otlp.MetricTypeGauge},
		{Name: "opens.per.second", Unit: "1/s", Type: otlp.MetricTypeGauge},
		{Name: "hold.seconds", Unit: "s", Type: otlp.MetricTypeGauge},
	} {
		name, err := namer.Build(m)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s, unit %q, %s: %s\n", m.Name, m.Unit, kinds[m.Type], name)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o names .
go version -m names | awk '/otlptranslator/ { print $2, $3 }'
./names | tee seen
cat >expected <<'END'
ports.used, unit "1", gauge: ports_used_ratio
ports.used, unit "1", UpDownCounter: ports_used
ports.used, unit "{port}", gauge: ports_used
opens.per.second, unit "1/s", gauge: opens_per_second_per_second
hold.seconds, unit "s", gauge: hold_seconds
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
