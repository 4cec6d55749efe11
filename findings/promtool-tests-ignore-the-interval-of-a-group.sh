#!/usr/bin/env bash
# promtool test rules evaluates all groups at one interval, whatever interval each of them has.
#
# Guess: a test of a group with "interval: 10m" evaluates it every ten minutes, as Prometheus will, so that what the
# test proves of "for", of records that other groups read, and of how soon an alert fires, holds there.
# Seen: the group's interval is not looked at; evaluation_interval of the test file, a minute unless set, holds for all
# groups. A record of such a group has a value after 3 minutes in a test, and an alert with "for: 2m" is firing, which
# cannot be before 10 and 20 minutes. In Prometheus the record is moreover absent to every query that is more than five
# minutes after its evaluation: a rule that reads it passes its test and is silent half of the time. The test file has
# to set evaluation_interval to the group's interval.
# Seen with promtool 2.42.0 of Debian 12 and of Prometheus v0.315.0 (3.15). Source: cmd/promtool/unittest.go of the
# module.
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

cat >rules.yaml <<'END'
groups:
  - name: slow
    interval: 10m
    rules:
      - {record: slow_time, expr: time()}
      - {alert: Slow, expr: vector(1), for: 2m}
END
# passes LINE EXPECTATION tells whether a test of the rules passes that has the line at its top.
passes() {
	cat >test.yaml <<-END
		$1
		rule_files: [rules.yaml]
		tests:
		  - interval: 1m
		    input_series: [{series: x, values: "0x60"}]
		    $2
	END
	promtool test rules test.yaml >log 2>&1
}
three='promql_expr_test: [{expr: slow_time, eval_time: 3m, exp_samples: [{labels: slow_time, value: 180}]}]'
zero='promql_expr_test: [{expr: slow_time, eval_time: 3m, exp_samples: [{labels: slow_time, value: 0}]}]'
firing='alert_rule_test: [{alertname: Slow, eval_time: 3m, exp_alerts: [{}]}]'
changed=
expect() {
	local want=$1 what=$2 got=no
	shift 2
	! passes "$@" || got=yes
	echo "$what: $got"
	[ "$got" = "$want" ] || changed=yes
}
promtool check rules rules.yaml | sed -n '2s/^ *//p'
expect yes 'interval 10m, after 3 minutes the record is of minute 3' '' "$three"
expect yes 'interval 10m, after 3 minutes an alert with "for: 2m" is firing' '' "$firing"
expect yes 'the same with evaluation_interval 10m: the record is of minute 0' 'evaluation_interval: 10m' "$zero"
expect no 'the same with evaluation_interval 10m: the alert is firing' 'evaluation_interval: 10m' "$firing"
[ -z "$changed" ] || { cat log; echo 'the behaviour has changed'; exit 1; }
