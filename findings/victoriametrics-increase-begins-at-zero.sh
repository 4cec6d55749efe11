#!/usr/bin/env bash
# VictoriaMetrics v1.151.0: a counter that has stood still for a month has grown, when it is first seen.
#
# Guess: increase(c[2m]) is 0 of a counter whose every sample is the same, as it is in Prometheus.
# Seen: where nothing was stored before the range, the first value counts as growth from 0, if it is small: 9 of a counter that
# stands at 9, and 0 of one that stands at 5000. A new scraper, a new tenant or a node that is found late then raises every
# alert of the form "increase(failures[2m]) > 0". rate and deriv do not do so.
# Seen with github.com/VictoriaMetrics/VictoriaMetrics v1.151.0 and promtool 2.42 (Debian 12). Source: rollupDelta in
# app/vmselect/promql/rollup.go of the module.
#
# Debian, as root, with Go. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in promtool:prometheus curl:curl; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server"; wait "$server" 2>/dev/null || true; }; rm -rf "$work"' EXIT
cd "$work"
version=v1.151.0
GOBIN="$work" go install "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@$version"
port=$((20000 + RANDOM % 20000))
./victoria-metrics -httpListenAddr=127.0.0.1:$port -storageDataPath=data -retentionPeriod=1d -search.latencyOffset=0s -memory.allowedBytes=128MB 2>log &
server=$!
vm=http://127.0.0.1:$port
for _ in $(seq 300); do
	! curl -sf "$vm/health" >/dev/null || break
	sleep 0.2
done
curl -sf "$vm/health" >/dev/null || { cat log >&2; exit 1; }
now=$(($(date +%s) / 60 * 60))

for age in 60 45 30 15 0; do
	echo "few 9 $(((now - age) * 1000))"
	echo "many 5000 $(((now - age) * 1000))"
done | curl -sf --data-binary @- "$vm/api/v1/import/prometheus"
curl -sf "$vm/internal/force_flush"
ask() { curl -sfG "$vm/api/v1/query" --data-urlencode "query=$1" --data-urlencode "time=$now" --data-urlencode nocache=1 | sed -n 's/.*"value":\[[0-9.]*,"\([^"]*\)"\].*/\1/p'; }
few=$(ask 'increase(few[2m])') many=$(ask 'increase(many[2m])') rate=$(ask 'rate(few[2m])') deriv=$(ask 'deriv(few[2m])')
cat >test.yaml <<-'END'
	evaluation_interval: 15s
	tests:
	  - interval: 15s
	    input_series:
	      - {series: few, values: "_x8 9 9 9 9 9"}
	    promql_expr_test:
	      - {expr: "increase(few[2m])", eval_time: 3m, exp_samples: [{labels: "{}", value: 0}]}
END
promtool test rules test.yaml >prometheus.log || { cat prometheus.log >&2; exit 1; }
echo "VictoriaMetrics $version: increase of a counter first seen at 9 is $few, at 5000 $many; rate $rate, deriv $deriv"
echo "$(promtool --version 2>&1 | sed -n 1p): increase of it is 0"
[ "$few $many $rate $deriv" = '9 0 0 0' ] || { echo "that has changed" >&2; exit 1; }
