#!/usr/bin/env bash
# An OpenTelemetry Collector that scrapes and writes to Prometheus gives every series two labels that no target has.
#
# Guess: a series scraped by the prometheus receiver and sent on by the prometheusremotewrite exporter, with its name left
# alone, is the series that Prometheus itself would have scraped.
# Seen: each has otel_scope_name, the receiver, and otel_scope_version, the collector's. That changes with every upgrade of the
# collector, and all series with it: they are new ones to rates and alerts. disable_scope_info: true in the exporter leaves
# both out.
# Seen with collector contrib 0.165.1 and Prometheus 2.42.0 of Debian 12.
#
# Needs Go, the Go module proxy and Debian. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null; rm -rf "$work"' EXIT
for p in prometheus curl; do
	dpkg -s "$p" >/dev/null 2>&1 || DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$p" >/dev/null
done
cd "$work"
cat >go.mod <<'END'
module collector

go 1.26.0

require (
	github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusremotewriteexporter v0.165.1
	github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver v0.165.1
	go.opentelemetry.io/collector/confmap/provider/fileprovider v1.71.0
	go.opentelemetry.io/collector/otelcol v0.165.0
	go.opentelemetry.io/collector/service v0.165.0
)
END
cat >main.go <<'END'
package main

import (
	"github.com/open-telemetry/opentelemetry-collector-contrib/exporter/prometheusremotewriteexporter"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func main() {
	c := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo: component.BuildInfo{Command: "collector", Version: "0.165.1"},
		Factories: func() (f otelcol.Factories, err error) {
			f.Telemetry = otelconftelemetry.NewFactory()
			if f.Receivers, err = otelcol.MakeFactoryMap[receiver.Factory](prometheusreceiver.NewFactory()); err == nil {
				f.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](prometheusremotewriteexporter.NewFactory())
			}
			return f, err
		},
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: confmap.ResolverSettings{
			ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()}, DefaultScheme: "file",
		}},
	})
	if c.Execute() != nil {
		panic("the collector ended")
	}
}
END
GOFLAGS=-mod=mod go mod tidy >/dev/null 2>&1
GOFLAGS=-mod=mod go build -p 2 -tags remove_all_sd -o collector .
go version -m collector | awk '$2 ~ /prometheus(receiver|remotewriteexporter)$/ { print $2, $3 }'

# target answers each scrape with one series.
cat >target.go <<'END'
package main

import "net/http"

func main() {
	panic(http.ListenAndServe("127.0.0.1:18081", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = w.Write([]byte("# TYPE held gauge\nheld 1\n"))
	})))
}
END
go build -o target target.go
./target &
echo 'global: {}' >prometheus.yml
prometheus --config.file=prometheus.yml --storage.tsdb.path=data --web.listen-address=127.0.0.1:18082 --web.enable-remote-write-receiver 2>prometheus.log &

# seen JOB OPTION: the labels of the series after it went through a collector.
seen() {
	cat >"$1.yaml" <<-END
		receivers: {prometheus: {config: {scrape_configs: [{job_name: $1, scrape_interval: 1s, scrape_timeout: 1s, static_configs: [{targets: [127.0.0.1:18081]}]}]}}}
		exporters: {prometheusremotewrite: {endpoint: http://127.0.0.1:18082/api/v1/write, $2 translation_strategy: UnderscoreEscapingWithoutSuffixes}}
		service: {telemetry: {metrics: {level: none}}, pipelines: {metrics: {receivers: [prometheus], exporters: [prometheusremotewrite]}}}
	END
	./collector --config "$1.yaml" 2>"$1.log" &
	local pid=$! answer=
	for _ in $(seq 300); do
		answer=$(curl -sfG http://127.0.0.1:18082/api/v1/series --data-urlencode "match[]=held{job=\"$1\"}" | grep -o '{"__name__"[^}]*}') && break
		sleep 0.2
	done
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	echo "${answer:-nothing}"
}
plain=$(seen plain '')
quiet=$(seen quiet 'disable_scope_info: true,')
echo "as it is:                 $plain"
echo "disable_scope_info: true: $quiet"
grep -q otel_scope_version <<<"$plain" && [ "$quiet" = '{"__name__":"held","instance":"127.0.0.1:18081","job":"quiet"}' ] || { echo 'the behaviour has changed'; exit 1; }
