#!/usr/bin/env bash
# Prometheus reads the right side of "and" in full, even where the left side is empty and the answer is known.
#
# Guess: "seldom_there and costly" takes next to nothing while seldom_there is absent: with nothing on the left, "and",
# "unless" and "*" return nothing whatever stands on the right, and set operators are short-circuited as in a
# programming language. So a rule may look closely only when a quick look says so.
# Seen: the query reads every sample that the right side alone reads, also where the left side is vector(0) == 1, which
# reads no series at all. What such a rule costs, and whether it meets query.max-samples or a timeout, does not depend on
# the left side.
# Seen with Prometheus 2.42.0 of Debian 12. Source: rangeEval in promql/engine.go, in v0.316.0 (3.16) too.
#
# Debian, as root to install. Fails if the behaviour changes.
set -euo pipefail

if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null || ! command -v curl >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus curl >/dev/null
fi
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; wait; rm -rf "$work"' EXIT
cd "$work"
prometheus --version 2>&1 | sed -n '1s/ (.*//p'

at=$(($(date +%s) / 7200 * 7200 - 7200))
{
	echo '# TYPE costly gauge'
	for i in $(seq 1000); do echo "costly{i=\"$i\"} 1 $at"; done
	echo '# EOF'
} >costly.om
promtool tsdb create-blocks-from openmetrics costly.om data >/dev/null 2>&1
echo 'global: {}' >none.yaml
prometheus --config.file=none.yaml --storage.tsdb.path=data --web.listen-address=127.0.0.1:19316 >log 2>&1 &
server=$!
up=
for _ in $(seq 600); do
	! curl -sf http://127.0.0.1:19316/-/ready >/dev/null || { up=yes; break; }
	sleep 0.1
done
[ -n "$up" ] || { cat log; exit 1; }

changed=
# samples WANT QUERY says how many samples a query reads.
samples() {
	local got
	got=$(curl -sf http://127.0.0.1:19316/api/v1/query --data-urlencode "query=$2" --data "time=$at" --data stats=all |
		grep -o '"totalQueryableSamples":[0-9]*' | cut -d: -f2)
	echo "$2: $got samples"
	[ "$got" = "$1" ] || changed=yes
}
samples 1000 'costly'
samples 0 'absent_here'
samples 1000 'absent_here and costly'
samples 1000 'absent_here unless costly'
samples 1000 'absent_here * on () group_left () sum(costly)'
samples 1000 '(vector(0) == 1) and on () costly'
[ -z "$changed" ] || { echo 'the behaviour has changed'; exit 1; }
