#!/usr/bin/env bash
# When Prometheus dies, Alertmanager says a few minutes later that all its alerts are resolved.
#
# Guess: an alert is resolved when Prometheus finds that its expression no longer holds. Without Prometheus nothing is
# known, so that a page stays as it was.
# Seen: each alert is sent with an end, four times the longer of the rule's interval and --rules.alert.resend-delay (a minute), and is
# sent again before that. When nobody sends it again Alertmanager takes it for ended, and tells receivers that it is
# resolved, with the same words as if it were. So an outage that takes Prometheus down with it closes its own pages after four
# minutes. A longer resend delay makes it later, and a watchdog alert, which a receiver outside expects, tells.
# Seen with prometheus 2.42.0 and prometheus-alertmanager 0.25.0 of Debian 12, with a delay of 4 s. Source: sendAlerts in
# rules/alerting.go (ValidUntil) of Prometheus.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in prometheus:prometheus prometheus-alertmanager:prometheus-alertmanager ip:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
prometheus --version 2>&1 | sed -n 's/ (.*//;1p'
prometheus-alertmanager --version 2>&1 | sed -n 's/ (.*//;1p'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >prometheus.yml <<'END'
global: {evaluation_interval: 1s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:9093"]}]}]}
END
cat >rules.yml <<'END'
groups: [{name: g, rules: [{alert: PortsExhausted, expr: "vector(1) > 0"}]}]
END
cat >alertmanager.yml <<'END'
route: {receiver: pager, group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: pager, webhook_configs: [{url: "http://127.0.0.1:8000/", send_resolved: true}]}]
END
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import http.server
import json
import queue
import subprocess
import sys
import threading
import time

told = queue.Queue()


class Pager(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["status"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


def start(*command):
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    atexit.register(lambda: (process.kill(), process.wait()))
    return process


threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Pager).serve_forever, daemon=True).start()
start("prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alerts", "--cluster.listen-address=")
prometheus = start("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--rules.alert.resend-delay=4s")
first = told.get(timeout=120)
time.sleep(25)  # more than the sixteen seconds of an alert that is not sent again
silent = told.empty()
print(f"the pager is told: {first}; {'nothing' if silent else 'something'} more within 25 seconds")
prometheus.kill()
prometheus.wait()
began = time.monotonic()
second = told.get(timeout=120)
print(f"Prometheus is killed, its rule is true as before. {time.monotonic() - began:.0f} s later the pager is told: {second}")
if (first, silent, second) != ("firing", True, "resolved"):
    sys.exit("the behaviour has changed")
PYTHON
