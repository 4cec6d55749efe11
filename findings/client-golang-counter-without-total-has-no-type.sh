#!/usr/bin/env bash
# client_golang: a counter whose name does not end in _total is a counter to curl, and of unknown type to Prometheus.
#
# Guess: what /metrics shows in a terminal is what Prometheus gets, so that "# TYPE flows_opened counter" is the type it stores.
# Seen: Prometheus asks for OpenMetrics, where a counter has to end in _total. The handler renames nothing and reports
# nothing: it calls such a counter "unknown". What goes by the type takes it for no counter: Grafana does not hint at rate,
# and the OpenTelemetry Collector, which scrapes in the same way, makes a gauge of it, in which a restart is a fall.
# Seen with github.com/prometheus/client_golang v1.25.0. Source: expfmt/openmetrics_create.go of prometheus/common.
#
# Needs Go and the Go module proxy. Uses TCP on loopback. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module counter

go 1.26.0

require github.com/prometheus/client_golang v1.25.0
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func main() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"flows_closed_total", "flows_opened"} {
		counter := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: "Flows."})
		counter.Add(7)
		registry.MustRegister(counter)
	}
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, Registry: registry,
	}))
	defer server.Close()
	// The second is what Prometheus 3 asks for first.
	for _, accept := range []string{"*/*", "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6"} {
		request, err := http.NewRequest(http.MethodGet, server.URL, nil)
		if err != nil {
			panic(err)
		}
		request.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			panic(err)
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			panic(err)
		}
		kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
		for line := range strings.Lines(string(body)) {
			if strings.HasPrefix(line, "# TYPE flows") || strings.HasPrefix(line, "flows") {
				fmt.Print(kind, ": ", line)
			}
		}
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o counter .
go version -m counter | awk '/client_golang|prometheus\/common/ { print $2, $3 }'
./counter | tee seen
cat >expected <<'END'
text/plain: # TYPE flows_closed_total counter
text/plain: flows_closed_total 7
text/plain: # TYPE flows_opened counter
text/plain: flows_opened 7
application/openmetrics-text: # TYPE flows_closed counter
application/openmetrics-text: flows_closed_total 7.0
application/openmetrics-text: # TYPE flows_opened unknown
application/openmetrics-text: flows_opened 7.0
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
