#!/usr/bin/env bash
# A record that promtool backfills goes on for five minutes after what it records has ended; a live one ends at once.
#
# Guess: "promtool tsdb create-blocks-from rules" writes what Prometheus would have written, had it had the rule before: past and
# present of a record join without a seam.
# Seen: a live rule marks each series that it does not find any more as stale, and the record ends with the next evaluation. promtool
# writes the values and no marks, so that each series of the record goes on for the look-back of five minutes. A burst of two minutes is one of
# seven, an alert or a share of time that is computed over the past from such a record is too long, and a sum by pod counts each pod that
# was replaced for five minutes more beside its successor.
# Seen with prometheus 2.42.0 of Debian 12, and with github.com/prometheus/prometheus v0.316.0. Source: cmd/promtool/rules.go.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in prometheus:prometheus promtool:prometheus ip:iproute2 python3:python3; do
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
rule_files: [live.yml]' >prometheus.yml
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import json
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request

# A burst that lasts until 40 s from now, and one that lasted two minutes, some hours ago.
now = time.time()
end = int(now) + 40
past = int(now) // 3600 * 3600 - 4 * 3600
burst = f"vector(time()) >= {past} < {past + 120}"


def rules(name, record, expression):
    with open(name, "w") as file:
        json.dump({"groups": [{"name": "g", "rules": [{"record": record, "expr": expression}]}]}, file)


rules("live.yml", "live", f"vector(time()) < {end}")
rules("past.yml", "backfilled", burst)


def start():
    command = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--storage.tsdb.retention.time=30d"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    atexit.register(lambda: (process.kill(), process.wait()))
    return process


def there(expression, at):
    query = urllib.parse.urlencode({"query": expression, "time": at})
    for _ in range(600):
        try:
            with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/query?" + query) as response:
                return bool(json.load(response)["data"]["result"])
        except OSError:
            time.sleep(0.1)
    sys.exit("Prometheus does not answer")


first = start()
there("vector(1)", now)
while time.time() < end + 15:
    time.sleep(0.5)
live = [there("live", end + seconds) for seconds in (-3, 10)]
command = ["promtool", "tsdb", "create-blocks-from", "rules", f"--start={past - 600}", f"--end={past + 3600}", "--eval-interval=10s",
           "--url=http://127.0.0.1:9090", "--output-dir=blocks", "past.yml"]
subprocess.run(command, check=True, capture_output=True)
first.terminate()
first.wait()
shutil.copytree("blocks", "data", dirs_exist_ok=True)
start()
print(f"a live record, 3 s before the end: {live[0]}, 10 s after it: {live[1]}")
ages = (60, 180, 360, 480)
plain = [there(burst, past + age) for age in ages]
backfilled = [there("backfilled", past + age) for age in ages]
print("a burst of two minutes,", *(f"{age // 60} minutes after its begin: {is_there}, backfilled: {record};"
                                   for age, is_there, record in zip(ages, plain, backfilled)))
if live != [True, False] or plain != [True, False, False, False] or backfilled != [True, True, True, False]:
    sys.exit("the behaviour has changed")
PYTHON
