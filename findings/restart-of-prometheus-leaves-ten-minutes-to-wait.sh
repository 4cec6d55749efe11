#!/usr/bin/env bash
# After a restart of Prometheus an alert begins to wait anew, or has at least ten minutes left to wait.
#
# Guess: since ALERTS_FOR_STATE is stored, an alert with "for" goes on waiting, after a restart, from where it was.
# Seen: --rules.alert.for-grace-period, ten minutes unless set, stands in between. An alert whose "for" is shorter begins anew.
# One whose "for" is longer is restored, but to no less than ten minutes before it fires: with "for: 30m", 29 of them
# over, it has ten more to go. So a Prometheus that restarts every eight minutes, as one that runs out of memory does, fires
# no alert that has to wait for longer than that, however long the cause lasts.
# Seen with prometheus 2.42.0 of Debian 12, and of github.com/prometheus/prometheus v0.316.0. Source: RestoreForState in
# rules/group.go.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in prometheus:prometheus ip:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
prometheus --version 2>&1 | sed -n 's/ (.*//;1p'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >prometheus.yml <<'END'
global: {evaluation_interval: 1s}
rule_files: [rules.yml]
END
cat >rules.yml <<'END'
groups:
  - name: g
    rules:
      - {alert: short, expr: vector(1) > 0, for: 5m}
      - {alert: middle, expr: vector(1) > 0, for: 10m30s}
      - {alert: long, expr: vector(1) > 0, for: 20m}
END
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import datetime
import json
import subprocess
import sys
import time
import urllib.request


def start():
    process = subprocess.Popen(["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"], stderr=subprocess.DEVNULL)
    atexit.register(lambda: (process.kill(), process.wait()))
    return process


def waits():
    """How many seconds each alert has waited, by its name."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/alerts") as response:
            alerts = json.load(response)["data"]["alerts"]
    except OSError:
        return {}
    now = datetime.datetime.now(datetime.timezone.utc)
    began = {a["labels"]["alertname"]: datetime.datetime.fromisoformat(a["activeAt"][:19] + "+00:00") for a in alerts}
    return {name: (now - b).total_seconds() for name, b in began.items()}


def wait(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.2)
    sys.exit("Prometheus does not come up")


first = start()
wait(lambda: len(waits()) == 3 and min(waits().values()) > 60)
before = waits()
first.terminate()
first.wait()
start()
wait(lambda: len(waits()) == 3)
# The state is restored with the second evaluation.
wait(lambda: waits()["short"] > 4)
after = waits()
for name, limit in ("short", "5m"), ("middle", "10m30s"), ("long", "20m"):
    print(f"for: {limit}: {before[name]:.0f} s waited before a restart, {after[name]:.0f} s after it")
# The middle one is set to 30 s, and the others go on from 0 and 60 s; a busy machine adds some seconds.
if min(before.values()) < 60 or after["long"] < 60 or not 15 < after["middle"] - after["short"] < 45 or after["long"] - after["short"] < 40:
    sys.exit("the behaviour has changed")
PYTHON
