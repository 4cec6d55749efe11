#!/usr/bin/env bash
# A restart of Prometheus ends the alerts that keep_firing_for holds.
#
# Guess: an alert with "keep_firing_for: 1h" fires for an hour after its cause was last seen, over a restart too, as the state of
# alerts (ALERTS_FOR_STATE) is stored and read again.
# Seen: what is stored is since when an alert has been active, and it is given only to an alert whose cause is seen again after the
# restart. One that is held, as its cause pauses, is not there after it. So a page that is held
# through the minutes between two exhaustions ends with each upgrade of Prometheus.
# Seen with prometheus 2.42.0 of Debian 12, and with github.com/prometheus/prometheus v0.316.0. Source: RestoreForState in
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
echo 'global: {evaluation_interval: 1s}
rule_files: [rules.yml]' >prometheus.yml
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import json
import subprocess
import sys
import time
import urllib.request

# One alert whose cause ends after 20 s, and one whose cause stays.
end = time.time() + 20
rules = [
    {"alert": "Paused", "expr": f"vector(time()) < {end}", "keep_firing_for": "1h"},
    {"alert": "Lasting", "expr": "vector(1) > 0", "keep_firing_for": "1h"},
]
with open("rules.yml", "w") as file:
    json.dump({"groups": [{"name": "pages", "rules": rules}]}, file)


def start():
    process = subprocess.Popen(["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"], stderr=subprocess.DEVNULL)
    atexit.register(lambda: (process.kill(), process.wait()))
    return process


def firing():
    try:
        with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/alerts") as response:
            return sorted(a["labels"]["alertname"] for a in json.load(response)["data"]["alerts"] if a["state"] == "firing")
    except OSError:
        return []


def wait(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)


first = start()
wait(lambda: len(firing()) == 2)
began = firing()
wait(lambda: time.time() > end + 10)
held = firing()
first.terminate()
first.wait()
start()
wait(firing)
time.sleep(10)
after = firing()
print(f"both causes are there:       {' '.join(began)} fire")
print(f"ten seconds after one ended: {' '.join(held)} fire")
print(f"after a restart:             {' '.join(after)} fires")
if began != ["Lasting", "Paused"] or held != began or after != ["Lasting"]:
    sys.exit("the behaviour has changed")
PYTHON
