#!/usr/bin/env bash
# VictoriaMetrics v1.151.0: a number differs from one that is not there.
#
# Guess: "x != x offset 10m" returns what has changed, and nothing where one side has no sample, as in Prometheus.
# Seen: where the right side has no sample at that time, though it has at others, the left side is returned. So
# an alert on a setting that changes fires ten minutes after every hole in what was scraped. "x > x offset 10m" returns nothing,
# and so does "x != (x offset 10m > 0)": the comparison in the parentheses takes the empty series away.
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

# One sample every 15 s for an hour, but for a hole around ten minutes ago. It is 1024 throughout.
for age in $(seq 3600 -15 0); do
	[ "$age" -gt 420 ] && [ "$age" -lt 960 ] || echo "x 1024 $(((now - age) * 1000))"
done | curl -sf --data-binary @- "$vm/api/v1/import/prometheus"
curl -sf "$vm/internal/force_flush"
ask() { curl -sfG "$vm/api/v1/query" --data-urlencode "query=$1" --data-urlencode "time=$now" --data-urlencode nocache=1 | { grep -o '"1024"' || true; } | wc -l; }
unequal=$(ask 'x != x offset 10m') greater=$(ask 'x > x offset 10m') guarded=$(ask 'x != (x offset 10m > 0)')
cat >test.yaml <<-'END'
	evaluation_interval: 15s
	tests:
	  - interval: 15s
	    input_series:
	      - {series: x, values: "1024x176 _x36 1024x28"}
	    promql_expr_test:
	      - {expr: "x != x offset 10m", eval_time: 60m, exp_samples: []}
END
promtool test rules test.yaml >prometheus.log || { cat prometheus.log >&2; exit 1; }
echo "VictoriaMetrics $version, ten minutes after the middle of a hole of nine: x != x offset 10m is true of $unequal series, x > x offset 10m of $greater, x != (x offset 10m > 0) of $guarded"
echo "$(promtool --version 2>&1 | sed -n 1p): x != x offset 10m is true of 0 series"
[ "$unequal" -gt 0 ] && [ "$greater $guarded" = '0 0' ] || { echo "that has changed" >&2; exit 1; }
