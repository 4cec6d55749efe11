#!/usr/bin/env bash
# In Prometheus timestamp(x > 0) and timestamp(last_over_time(x[1h])) are now, however old the sample is.
#
# Guess: timestamp gives the time of the sample that a series was taken from; where a plain selector does not find it any
# more, last_over_time reaches back an hour and timestamp says when that was. So "time() - timestamp(...) > 300"
# is an alert on data that has stopped.
# Seen: it gives the time of the sample of a selector that stands alone in its parentheses. Any comparison, any function around it,
# and the result is the time of the query. The age is 0 always, and the alert can never fire. What works is a maximum over a
# subquery of the plain selector: max_over_time(timestamp(x)[1h:1m]).
# Seen with promtool 2.42.0 of Debian 12, and of github.com/prometheus/prometheus v0.316.0. Source: funcTimestamp in
# promql/functions.go.
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
# The age of x, whose last sample is at two minutes, at a later time: expression, minute, expected seconds.
cases='time() - timestamp(x)|6|240
time() - timestamp(x > 0)|6|0
time() - timestamp(x + 0)|6|0
time() - timestamp(last_over_time(x[1h]))|30|0
time() - max_over_time(timestamp(x)[1h:1m])|30|1680'
{
	printf 'evaluation_interval: 1m\ntests:\n- interval: 1m\n  input_series: [{series: x, values: "7 7 7"}]\n  promql_expr_test:\n'
	while IFS='|' read -r expression minute seconds; do
		echo "  - {expr: '$expression', eval_time: ${minute}m, exp_samples: [{labels: '{}', value: $seconds}]}"
	done <<<"$cases"
} >test.yaml
while IFS='|' read -r expression minute seconds; do
	echo "last sample at 2 minutes, asked at $minute: $expression = $seconds"
done <<<"$cases"
promtool test rules test.yaml >log 2>&1 || {
	cat log
	echo 'the behaviour has changed'
	exit 1
}
