#!/usr/bin/env bash
# vmalert-tool v1.151.0: tests of rules begin at 2000-01-01, and those of promtool at 1970-01-01.
#
# Guess: a file of tests that promtool passes, and that vmalert-tool reads as well, means the same to both. So eval_time
# 10m is 600 seconds on the clock of the rules, and a series of timestamps, as each exporter has one, is written from 0 on.
# Seen: time() is 0 at eval_time 0 in promtool, and 946684800 in vmalert-tool. An alert on a stale timestamp, or one that is
# silent outside office hours by hour() or day_of_week(), fires in the one and not in the other: a timestamp that grows from
# 0 with the clock is ten thousand days old, and 1 January is a Thursday in the one and a Saturday in the other.
# Seen with github.com/VictoriaMetrics/VictoriaMetrics v1.151.0 and promtool 2.42.0 of Debian 12. Source: testStartTime in
# app/vmalert-tool/unittest/unittest.go of the module.
#
# Debian, with Go, as root to install. Fails if the behaviour changes.
set -euo pipefail

if ! command -v promtool >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends prometheus >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
version=v1.151.0
GOBIN="$work" go install "github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert-tool@$version"

cat >rules.yaml <<'END'
groups:
  - name: fresh
    rules:
      - {alert: Stale, expr: time() - snapshot_timestamp_seconds > 60}
      - {alert: Saturday, expr: day_of_week(vector(time())) == 6}
END
# The timestamp of a snapshot that is taken at each scrape.
cat >test.yaml <<'END'
rule_files: [rules.yaml]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series: [{series: snapshot_timestamp_seconds, values: "0+15x40"}]
    alert_rule_test:
      - {alertname: Stale, eval_time: 5m, exp_alerts: []}
      - {alertname: Saturday, eval_time: 5m, exp_alerts: []}
END
promtool test rules test.yaml >promtool.log 2>&1 && old=pass || old=fail
./vmalert-tool unittest -disableAlertgroupLabel --files=test.yaml >vmalert-tool.log 2>&1 && new=pass || new=fail
stale=$(grep -c 'alertname: Stale' vmalert-tool.log || true)
saturday=$(grep -c 'alertname: Saturday' vmalert-tool.log || true)
# The same series from the year 2000 on.
sed 's/0+15x40/946684800+15x40/; /Saturday/d' test.yaml >later.yaml
./vmalert-tool unittest -disableAlertgroupLabel --files=later.yaml >later.log 2>&1 && later=pass || later=fail

echo "a timestamp that grows with the clock from 0, and no Saturday: promtool: $old; vmalert-tool $version: $new, where" \
	"Stale ($stale) and Saturday ($saturday) fire"
echo "from 946684800 on, in vmalert-tool: $later"
[ "$old $new $stale $saturday $later" = "pass fail 1 1 pass" ] || {
	cat promtool.log vmalert-tool.log later.log >&2
	echo "that has changed" >&2
	exit 1
}
