#!/usr/bin/env bash
# VictoriaMetrics v1.151.0: of one third it keeps twelve digits.
#
# Guess: a sample is a float64, and comes back as it went in, as from Prometheus.
# Seen: 0.3333333333333333 comes back as 0.333333333333, and 0.6666666666666666 as 0.666666666666: cut off, not rounded. Together they
# are less than 1, so "a + b >= 1" is false of two shares of which each is a third or two thirds. In Prometheus it is true. An alert
# on shares that add up to a whole never fires: compare with a little less.
# Seen with github.com/VictoriaMetrics/VictoriaMetrics v1.151.0 and promtool 2.42 (Debian 12).
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

printf 'a 0.3333333333333333 %s000\nb 0.6666666666666666 %s000\n' "$now" "$now" | curl -sf --data-binary @- "$vm/api/v1/import/prometheus"
curl -sf "$vm/internal/force_flush"
ask() { curl -sfG "$vm/api/v1/query" --data-urlencode "query=$1" --data-urlencode "time=$now" --data-urlencode nocache=1 | { grep -o '"value":[^]]*' || true; } | cut -d'"' -f4; }
third=$(ask a) whole=$(ask 'a + b >= 1')
cat >test.yaml <<-'END'
	tests:
	  - interval: 15s
	    input_series:
	      - {series: a, values: "0.3333333333333333"}
	      - {series: b, values: "0.6666666666666666"}
	    promql_expr_test:
	      - {expr: a + b >= 1, eval_time: 0s, exp_samples: [{labels: "{}", value: 1}]}
	      - {expr: a * 3 >= 1, eval_time: 0s, exp_samples: [{labels: "{}", value: 1}]}
END
promtool test rules test.yaml >prometheus.log || { cat prometheus.log >&2; exit 1; }
echo "VictoriaMetrics $version: 0.3333333333333333 is kept as $third; a third and two thirds are ${whole:-less than 1}"
echo "$(promtool --version 2>&1 | sed -n 1p): they are 1"
[ "$third" = 0.333333333333 ] && [ -z "$whole" ] || { echo "that has changed" >&2; exit 1; }
