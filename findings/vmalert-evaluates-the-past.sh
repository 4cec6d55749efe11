#!/usr/bin/env bash
# VictoriaMetrics v1.151.0: vmalert evaluates a group for a moment that is long past, up to its interval and 30 s.
#
# Guess: a group with an interval of 40 s is evaluated every 40 s for that moment, as Prometheus does.
# Seen: it is evaluated every 40 s, for 30 s before, rounded down to a multiple of 40 s: what is recorded carries a
# time that is 30 to 70 s old when it is written, and an alert sees what was then. With a group of eight minutes that is up to
# eight and a half, which is more than the five minutes that a query looks back: between two evaluations an expression that
# reads the record finds nothing. With eval_delay: 0s and eval_alignment: false in the group the time is that of the evaluation.
# Seen with github.com/VictoriaMetrics/VictoriaMetrics v1.151.0. Source: adjustReqTimestamp in
# app/vmalert/rule/group.go of the module.
#
# Debian, with Go. Fails if the behaviour changes.
set -euo pipefail

if ! command -v curl >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends curl >/dev/null
fi

work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
version=v1.151.0
module=github.com/VictoriaMetrics/VictoriaMetrics/app
GOBIN="$work" go install "$module/victoria-metrics@$version" "$module/vmalert@$version"
port=$((20000 + RANDOM % 20000))
vm=http://127.0.0.1:$port
./victoria-metrics -httpListenAddr=127.0.0.1:$port -storageDataPath=data -retentionPeriod=1d -search.latencyOffset=0s -memory.allowedBytes=128MB 2>store.log &
pids+=($!)
for _ in $(seq 300); do
	! curl -sf "$vm/health" >/dev/null || break
	sleep 0.2
done
cat >rules.yaml <<-'END'
	groups:
	  - {name: default, interval: 40s, rules: [{record: by_default, expr: time()}]}
	  - {name: asked, interval: 40s, eval_delay: 0s, eval_alignment: false, rules: [{record: as_asked, expr: time()}]}
END
./vmalert -httpListenAddr=127.0.0.1:$((port + 1)) -rule=rules.yaml -datasource.url=$vm -remoteWrite.url=$vm -remoteWrite.flushInterval=1s 2>alert.log &
pids+=($!)

# age is how old the newest sample of a series is when it is first seen.
age() {
	local value
	for _ in $(seq 900); do
		value=$(curl -sfG "$vm/api/v1/query" --data-urlencode "query=$1[10m]" --data-urlencode nocache=1 |
			sed -n 's/.*"\([0-9.]*\)"\]\]}.*/\1/p')
		if [ -n "$value" ]; then
			echo "${value%%.*} $(($(date +%s) - ${value%%.*}))"
			return
		fi
		sleep 0.2
	done
	cat alert.log >&2
	return 1
}
age as_asked >asked &
age by_default >default
wait $!
read -r at_asked asked <asked
read -r at_default default <default
echo "vmalert $version, interval 40s: by default recorded for a moment $default s before it is seen, a multiple of 40 s ($((at_default % 40)) s over);"
echo "with eval_delay: 0s and eval_alignment: false for one $asked s before ($((at_asked % 40)) s over)"
[ "$default" -ge 30 ] && [ $((at_default % 40)) = 0 ] && [ "$asked" -lt "$default" ] || { echo "that has changed" >&2; exit 1; }
