#!/usr/bin/env bash
# A limit on a rule group takes every alert of a rule away when one too many fires.
#
# Guess: "limit: 20" on a group of rules lets through 20 alerts of each rule, and leaves out what is beyond.
# Seen: the alert that is one too many ends them all: those that fired before are forgotten, nothing of them is sent any more, not
# even that they are over, and the rule is in error. When the cause shrinks below the limit again, each begins anew, with a
# start of its own and its "for" to wait. So a page with a limit against floods works while few nodes run out of ports, and is silent
# when most do. Only prometheus_rule_evaluation_failures_total rises.
# Seen with prometheus 2.42.0 of Debian 12, and with github.com/prometheus/prometheus v0.316.0. Source: AlertingRule.Eval in
# rules/alerting.go.
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
# Three nodes: a and b always fire, c for ten seconds that are given as an end.
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import json
import subprocess
import sys
import time
import urllib.request

begin = time.time() + 25
end = begin + 10


def node(name, condition="vector(1) > 0"):
    return f'label_replace({condition}, "node", "{name}", "", "")'


third = node("c", f"vector(time()) >= {begin} < {end}")
rule = {"alert": "PortsExhausted", "expr": f"{node('a')} or {node('b')} or {third}"}
with open("rules.yml", "w") as file:
    json.dump({"groups": [{"name": "pages", "limit": 2, "rules": [rule]}]}, file)
process = subprocess.Popen(["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"], stderr=subprocess.DEVNULL)
atexit.register(lambda: (process.kill(), process.wait()))


def look():
    """The nodes whose alert fires, when the first of them began, and what ails the rule."""
    try:
        with urllib.request.urlopen("http://127.0.0.1:9090/api/v1/rules") as response:
            groups = json.load(response)["data"]["groups"]
    except OSError:
        return "", "", ""
    if not groups:
        return "", "", ""
    found = groups[0]["rules"][0]
    firing = sorted((a["labels"]["node"], a["activeAt"]) for a in found["alerts"] if a["state"] == "firing")
    return "".join(n for n, _ in firing), firing[0][1] if firing else "", found.get("lastError", "")


def wait(condition):
    for _ in range(600):
        seen = look()
        if condition(seen):
            return seen
        time.sleep(0.1)
    return look()


before = wait(lambda seen: seen[0] == "ab" and time.time() > begin - 10)
over = wait(lambda seen: seen[2])
after = wait(lambda seen: seen[0] == "ab" and time.time() > end)
print(f"limit 2, nodes a and b fire:  {before[0] or 'none'}")
print(f"node c as well:               {over[0] or 'none'}, {over[2]}")
print(f"a and b alone again:          {after[0] or 'none'}, with another start: {after[1] != before[1]}")
if before[0] != "ab" or over[0] or "exceeded limit" not in over[2] or after[0] != "ab" or after[1] == before[1]:
    sys.exit("the behaviour has changed")
PYTHON
