#!/usr/bin/env bash
# VictoriaMetrics v1.151.0: a series that is NaN is absent.
#
# Guess: a sample of NaN is a sample, as in Prometheus: a ratio of nothing by nothing is there, and only its value says nothing.
# Seen: it is not kept. "count(ratio)" finds no series where Prometheus finds one, and "absent(ratio)" is 1: an alert on what is
# not scraped any more fires for a target that answers and has nothing to divide.
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

printf 'ratio NaN %s000\nscraped 1 %s000\n' "$now" "$now" | curl -sf --data-binary @- "$vm/api/v1/import/prometheus"
curl -sf "$vm/internal/force_flush"
ask() { curl -sfG "$vm/api/v1/query" --data-urlencode "query=$1" --data-urlencode "time=$now" --data-urlencode nocache=1 | { grep -o '"value":[^]]*' || true; } | cut -d'"' -f4; }
scraped=$(ask 'count(scraped)') counted=$(ask 'count(ratio)') absent=$(ask 'absent(ratio)')
cat >test.yaml <<-'END'
	tests:
	  - interval: 15s
	    input_series:
	      - {series: ratio, values: "NaN"}
	    promql_expr_test:
	      - {expr: count(ratio), eval_time: 0s, exp_samples: [{labels: "{}", value: 1}]}
	      - {expr: absent(ratio), eval_time: 0s, exp_samples: []}
END
promtool test rules test.yaml >prometheus.log || { cat prometheus.log >&2; exit 1; }
echo "VictoriaMetrics $version: of a sample NaN count finds ${counted:-none}, absent says ${absent:-nothing}; of a sample 1 beside it count finds $scraped"
echo "$(promtool --version 2>&1 | sed -n 1p): count finds 1, absent says nothing"
[ "$scraped" = 1 ] && [ -z "$counted" ] && [ "$absent" = 1 ] || { echo "that has changed" >&2; exit 1; }
