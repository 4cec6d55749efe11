#!/usr/bin/env bash
# In PromQL a node without a value is the best one to quantile, spoils avg, and does not exist for max and min.
#
# Guess: a series that is NaN, as the share of failures is on a node where nothing was tried (0 of 0), is treated alike by all
# aggregations: all leave it out, or all become NaN.
# Seen: max, min and any ">" leave it out; sum, avg and stddev become NaN; count counts it, and "!=" finds it. quantile sorts it
# below all numbers, so that with two idle nodes beside two at 0.8 and 0.9 the quantile of 0.75 is 0.825 in place of 0.875,
# a number that looks well, and the median is NaN. quantile_over_time does the same with time. Only "x >= 0" within the
# aggregation makes them agree.
# Seen with promtool 2.42.0 of Debian 12, and of github.com/prometheus/prometheus v0.316.0. Source: vectorByValueHeap in
# promql/functions.go and quantile in promql/quantile.go.
#
# Debian, as root to install. Fails if the behaviour changes.
set -euo pipefail

if ! command -v promtool >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null
fi
promtool --version 2>&1 | sed -n 's/ (.*//;1p'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# Expressions of the shares of four nodes, NaN, NaN, 0.9 and 0.8, and what they are.
cases='quantile(0.75, x)|0.825
quantile(0.75, x >= 0)|0.875
quantile(0.5, x)|NaN
avg(x)|NaN
avg(x >= 0)|0.85
stddev(x)|NaN
min(x)|0.8
max(x)|0.9
count(x)|4
count(x > 0)|2
count(x != 0)|4
quantile_over_time(0.75, y[10m])|0.825'
{
	cat <<-'END'
		evaluation_interval: 1m
		tests:
		- interval: 1m
		  input_series:
		  - {series: 'x{node="a"}', values: NaN _ _ NaN}
		  - {series: 'x{node="b"}', values: NaN _ _ NaN}
		  - {series: 'x{node="c"}', values: 0.9 _ _ 0.9}
		  - {series: 'x{node="d"}', values: 0.8 _ _ 0.8}
		  - {series: y, values: NaN 0.9 NaN 0.8}
		  promql_expr_test:
	END
	# Rounded, as a quantile is computed by products; and NaN is what differs from itself.
	while IFS='|' read -r expression value; do
		expression="round($expression, 0.001)"
		if [ "$value" = NaN ]; then expression="$expression != bool $expression" value=1; fi
		echo "  - {expr: '$expression', eval_time: 3m, exp_samples: [{labels: '{}', value: $value}]}"
	done <<<"$cases"
} >test.yaml
tr '|' ' ' <<<"$cases" | sed 's/ \([^ ]*\)$/ = \1/'
promtool test rules test.yaml >log 2>&1 || {
	cat log
	echo 'the behaviour has changed'
	exit 1
}
