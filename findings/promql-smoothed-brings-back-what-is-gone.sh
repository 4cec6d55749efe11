#!/usr/bin/env bash
# Prometheus 3.16: "x smoothed" goes on for minutes after a series has ended, so a sum counts a pod and its successor.
#
# Guess: the modifier smoothed, which is stable since 3.16, interpolates between the samples of a series; where a series has ended, as
# its target or its label has gone, there is nothing to interpolate, and x and "x smoothed" are both empty.
# Seen: it does not look at the markers of staleness by which x ends at once. The last value is carried on for the look-back of five
# minutes, and where the series comes back within that, a line is drawn through the time in which it was not there. When pod b takes
# over the 100 ports of pod a, sum(held) is 100 throughout, and sum(held smoothed) is 200 for four minutes; absent() of what has
# gone says nothing.
# Seen with promtool of github.com/prometheus/prometheus v0.316.0 (3.16.0).
#
# Needs Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
version=v0.316.0
GOBIN="$work" go install -p 2 -tags remove_all_sd "github.com/prometheus/prometheus/cmd/promtool@$version"
go version -m promtool | awk '$1 == "mod" { print $2, $3 }'

# Expressions, a minute, and what they are then. Pod a is there until minute 10, pod b from minute 11. The latest minute comes first,
# as promtool has loaded no more than the samples until then.
cases='sum(held)|20|100
sum(held)|13|100
sum(held smoothed)|9|100
sum(held smoothed)|11|200
sum(held smoothed)|14|200
sum(held smoothed)|15|100
absent(held{pod="a"})|13|1
absent(held{pod="a"} smoothed)|13|none
round(back)|13|none
round(back smoothed)|13|36'
{
	cat <<-'END'
		evaluation_interval: 1m
		tests:
		- interval: 1m
		  input_series:
		  - {series: 'held{pod="a"}', values: 100x10 stale}
		  - {series: 'held{pod="b"}', values: _x11 100x20}
		  - {series: back, values: 10x10 stale _ _ _ _ _ 70x10}
		  promql_expr_test:
	END
	while IFS='|' read -r expression minute value; do
		samples="[{labels: '{}', value: $value}]"
		[ "$value" != none ] || samples='[]'
		case $expression in absent*) samples=${samples/\'\{\}\'/\'\{pod=\"a\"\}\'} ;; esac
		echo "  - {expr: '$expression', eval_time: ${minute}m, exp_samples: $samples}"
	done <<<"$cases"
} >test.yaml
sed 's/^\(.*\)|\(.*\)|\(.*\)$/minute \2: \1 is \3/' <<<"$cases"
./promtool test rules test.yaml >log 2>&1 || {
	cat log
	echo 'the behaviour has changed'
	exit 1
}
