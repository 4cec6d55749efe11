#!/usr/bin/env bash
# In Prometheus predict_linear(x[10m] offset 1h, 3600) is not what was predicted an hour ago; in VictoriaMetrics it is.
#
# Guess: with "offset 1h" a query returns what it returned an hour ago without it, so that the forecast of an hour ago
# for now can be laid over what came.
# Seen: Prometheus takes the samples of an hour ago and counts the 3600 s from now: the answer is for an hour from now.
# The past forecast for now is predict_linear(x[10m] offset 1h, 0); "@" does the same. VictoriaMetrics counts from the
# time of the samples. On a ramp of one a minute the two differ by 60, and a board that checks its forecasts shows an
# error that is the query's.
# Seen with promtool 2.42.0 of Debian 12, with promtool of Prometheus v0.315.0 (3.15), and with VictoriaMetrics
# v1.151.0.
#
# Debian, as root, with Go and the Go module proxy. Uses loopback. Fails if the behaviour changes.
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
GOBIN="$work" go install -p 2 "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@$version"

# A ramp of one a minute for two hours. The second number is the ramp's at the time that the forecast is for.
cat >test.yaml <<'END'
tests:
  - interval: 1m
    input_series:
      - {series: x, values: "0+1x120"}
    promql_expr_test:
      - {expr: "predict_linear(x[10m], 3600)", eval_time: 50m, exp_samples: [{labels: "{}", value: 110}]}
      - {expr: "predict_linear(x[10m] offset 1h, 3600)", eval_time: 110m, exp_samples: [{labels: "{}", value: 170}]}
      - {expr: "predict_linear(x[10m] @ 3000, 3600)", eval_time: 110m, exp_samples: [{labels: "{}", value: 170}]}
      - {expr: "predict_linear(x[10m] offset 1h, 0)", eval_time: 110m, exp_samples: [{labels: "{}", value: 110}]}
END
promtool test rules test.yaml >log || { cat log; echo 'the behaviour of Prometheus has changed'; exit 1; }
echo "$(promtool --version 2>&1 | cut -d' ' -f1-3 | sed -n 1p) at 1 h 50 min, where x is 110:"
echo '  predict_linear(x[10m] offset 1h, 3600) is 170, predict_linear(x[10m] offset 1h, 0) is 110'

port=$((20000 + RANDOM % 20000))
./victoria-metrics -httpListenAddr=127.0.0.1:$port -storageDataPath=data -retentionPeriod=1d \
	-search.latencyOffset=0s -memory.allowedBytes=128MB 2>log &
server=$!
vm=http://127.0.0.1:$port
for _ in $(seq 300); do
	! curl -sf "$vm/health" >/dev/null || break
	sleep 0.2
done
start=$(($(date +%s) / 60 * 60 - 7200))
for minute in $(seq 0 120); do echo "x $minute $((start + 60 * minute))000"; done |
	curl -sf --data-binary @- "$vm/api/v1/import/prometheus"
curl -sf "$vm/internal/force_flush"
ask() {
	curl -sfG "$vm/api/v1/query" --data-urlencode "query=$1" -d time=$((start + 6600)) -d nocache=1 |
		sed -n 's/.*"value":\[[0-9]*,"\([^"]*\)".*/\1/p'
}
past=$(ask 'predict_linear(x[10m] offset 1h, 3600)') zero=$(ask 'predict_linear(x[10m] offset 1h, 0)')
echo "VictoriaMetrics $version at the same time:"
echo "  predict_linear(x[10m] offset 1h, 3600) is $past, predict_linear(x[10m] offset 1h, 0) is $zero"
[ "$(printf '%.3f %.3f' "$past" "$zero")" = '110.000 50.000' ] || { echo 'the behaviour has changed'; exit 1; }
