#!/usr/bin/env bash
# VictoriaMetrics v1.151.0: label!~".*" finds the series that have no such label.
#
# Guess: no value fails to match ".*", the empty one of a missing label neither, so x{label!~".*"} finds nothing, as in
# Prometheus. Grafana writes such a matcher where a query leaves out what is chosen, and all is chosen.
# Seen: series that have the label are left out, series that lack it are found. x{label=~".*"} finds all of both, so a
# series without the label is on both sides. A second matcher of a label that each series has (other!~".*") finds nothing.
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
./victoria-metrics -httpListenAddr=127.0.0.1:$port -storageDataPath=data -search.latencyOffset=0s -memory.allowedBytes=128MB 2>log &
server=$!
vm=http://127.0.0.1:$port
for _ in $(seq 300); do
	! curl -sf "$vm/health" >/dev/null || break
	sleep 0.2
done
curl -sf "$vm/health" >/dev/null || { cat log >&2; exit 1; }

printf 'x{node="a",pool="web"} 1\nx{node="b"} 1\n' | curl -sf --data-binary @- "$vm/api/v1/import/prometheus"
curl -sf "$vm/internal/force_flush"
ask() { curl -sfG "$vm/api/v1/query" --data-urlencode "query=$1" --data-urlencode nocache=1 | { grep -o '"node":"[ab]"' || true; } | cut -d'"' -f4 | sort | tr -d '\n'; }
for _ in $(seq 100); do
	[ "$(ask x)" != ab ] || break
	sleep 0.2
done
all=$(ask 'x{pool=~".*"}') none=$(ask 'x{pool!~".*"}') guarded=$(ask 'x{pool!~".*",node!~".*"}')
cat >test.yaml <<-'END'
	evaluation_interval: 15s
	tests:
	  - interval: 15s
	    input_series:
	      - {series: 'x{node="a",pool="web"}', values: "1x4"}
	      - {series: 'x{node="b"}', values: "1x4"}
	    promql_expr_test:
	      - {expr: 'count(x{pool=~".*"})', eval_time: 1m, exp_samples: [{labels: "{}", value: 2}]}
	      - {expr: 'x{pool!~".*"}', eval_time: 1m, exp_samples: []}
END
promtool test rules test.yaml >prometheus.log || { cat prometheus.log >&2; exit 1; }
echo "VictoriaMetrics $version, nodes a (with a pool) and b (without): pool=~\".*\" finds \"$all\", pool!~\".*\" finds \"$none\", with node!~\".*\" beside it \"$guarded\""
echo "$(promtool --version 2>&1 | sed -n 1p): pool!~\".*\" finds nothing"
[ "$all" = ab ] && [ "$none" = b ] && [ -z "$guarded" ] || { echo "that has changed" >&2; exit 1; }
