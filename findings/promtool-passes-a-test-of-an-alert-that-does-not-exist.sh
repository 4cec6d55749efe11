#!/usr/bin/env bash
# promtool passes a test that an alert stays silent, also when no rule has that name.
#
# Guess: a test of the alert PortsExausted in a file that has PortsExhausted fails: promtool knows the rules and their names.
# Seen: it asks which alerts of that name fire, and finds none, as expected. A test that is meant to hold an alert silent (in
# a maintenance, below a limit, after it was mended) passes with a misspelt name, and passes when the alert is renamed
# or deleted, and is worth nothing from then on. A test of one that fires fails as it should. So each such test needs
# one beside it, of the same name, in which the alert fires.
# Seen with promtool 2.42.0 of Debian 12, and of github.com/prometheus/prometheus v0.316.0.
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
cat >rules.yaml <<'END'
groups:
  - name: ports
    rules:
      - {alert: PortsExhausted, expr: ports_free == 0}
END
# What promtool says of a test that the named alert is silent, with this many free ports.
silent() {
	cat >test.yaml <<-END
		rule_files: [rules.yaml]
		evaluation_interval: 1m
		tests:
		  - interval: 1m
		    input_series: [{series: ports_free, values: "$2 $2 $2"}]
		    alert_rule_test: [{eval_time: 2m, alertname: $1, exp_alerts: []}]
	END
	if promtool test rules test.yaml >log 2>&1; then echo passes; else echo fails; fi
}
a=$(silent PortsExhausted 9) b=$(silent PortsExhausted 0) c=$(silent PortsExausted 0)
echo "the test that an alert is silent. It is: $a. It fires: $b. Its name is misspelt, and it fires: $c."
[ "$a $b $c" = 'passes fails passes' ] || {
	echo 'the behaviour has changed'
	exit 1
}
