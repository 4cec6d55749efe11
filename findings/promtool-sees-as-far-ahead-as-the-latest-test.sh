#!/usr/bin/env bash
# A promtool test of an expression that looks ahead passes only while another test has a later eval_time.
#
# Guess: the input series of a test are there as a whole, and each expression is evaluated at its eval_time, whatever else is tested.
# Seen: samples are loaded as far as the latest eval_time of the group of tests, and what comes after is not there. "offset -1h", by which
# a forecast is compared with what came, and "@" of a later time find nothing, unless
# another test, of whatever else, is later. So a check of a backtest fails when a test next to it is taken out, and passes again with
# one that has nothing to do with it. The modifier smoothed of 3.16 looks ahead as well.
# Seen with promtool 2.42.0 of Debian 12, and of github.com/prometheus/prometheus v0.316.0. Source: testGroup.test and maxEvalTime in
# cmd/promtool/unittest.go.
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
# A ramp of one a minute for three hours, at minute 90 of which two expressions look from minute 30; the other test asks for a constant.
other="{expr: vector(1), eval_time: 150m, exp_samples: [{labels: '{}', value: 1}]}"
# file NAME CASE... writes a test file.
file() {
	local name=$1 case
	shift
	cat >"$name.yaml" <<-'END'
		evaluation_interval: 1m
		tests:
		- interval: 1m
		  input_series: [{series: held, values: 0+1x180}]
		  promql_expr_test:
	END
	for case; do echo "  - $case" >>"$name.yaml"; done
}
changed=
for expression in 'held offset -1h' 'held @ 5400'; do
	case="{expr: '$expression', eval_time: 30m, exp_samples: [{labels: held, value: 90}]}"
	file beside "$case" "$other"
	file alone "$case"
	for name in beside alone; do
		seen=90
		promtool test rules $name.yaml >$name.log 2>&1 || seen=$(sed -n 's/^ *got: *//p' $name.log)
		case $name in
		beside) echo "minute 30, beside a test of vector(1) at minute 150: $expression is $seen" ;;
		alone) echo "minute 30, alone: $expression is $seen" ;;
		esac
		case $name,$seen in beside,90 | alone,nil) ;; *) changed=yes ;; esac
	done
done
if [ -n "$changed" ]; then
	echo 'the behaviour has changed'
	exit 1
fi
