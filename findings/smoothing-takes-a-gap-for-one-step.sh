#!/usr/bin/env bash
# Prometheus' double exponential smoothing does not look at the times of its samples.
#
# Guess: holt_winters (double_exponential_smoothing since 3.0) follows a ramp as deriv and predict_linear do, which use
# the time of each sample: after a hole of twenty minutes in the scrapes it is where the ramp is.
# Seen: it goes from sample to sample, whatever lies between them, and takes the hole for one steep minute. Of a ramp of
# 10 a minute that is at 400 when scrapes come back, it says 260; ten minutes later, at 500, it says 529, and
# predict_linear is right both times. So as a forecast of ports it is far too low after a restart of what scrapes, and
# then too high: both are alarms of the wrong kind.
# Seen with promtool 2.42.0 of Debian 12. Source: funcHoltWinters in promql/functions.go.
#
# Debian, as root to install. Fails if the behaviour changes.
set -euo pipefail

if ! command -v promtool >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
promtool --version 2>&1 | sed -n '1s/ (.*//p'

# test MINUTES X SMOOTHED tests the ramp with scrapes of each minute, and with none in minutes 20 to 39: what x is, what
# predict_linear and smoothing say, at that time.
test() {
	local with='{labels: "{gap=\"yes\"}", value:' without='{labels: "{gap=\"no\"}", value:'
	cat >test.yaml <<-END
		tests:
		  - interval: 1m
		    input_series:
		      - {series: 'x{gap="no"}', values: "0+10x90"}
		      - {series: 'x{gap="yes"}', values: "0+10x19 _x20 400+10x50"}
		    promql_expr_test:
		      - expr: max(x) by (gap)
		        eval_time: $1m
		        exp_samples: [$without $2}, $with $2}]
		      - expr: round(predict_linear(x[2h], 0))
		        eval_time: $1m
		        exp_samples: [$without $2}, $with $2}]
		      - expr: round(holt_winters(x[2h], 0.3, 0.3))
		        eval_time: $1m
		        exp_samples: [$without $2}, $with $3}]
	END
	promtool test rules test.yaml >log || { cat log; echo 'the behaviour has changed'; exit 1; }
	echo "after $1 minutes x is $2, predict_linear says $2, smoothing says $2 without a gap and $3 after one"
}
test 40 400 260
test 50 500 529
test 60 600 595
