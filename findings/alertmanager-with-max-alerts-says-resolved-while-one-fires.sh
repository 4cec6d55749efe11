#!/usr/bin/env bash
# With max_alerts, Alertmanager says that a group is resolved while an alert of it fires.
#
# Guess: max_alerts bounds how many alerts of a group a webhook is sent; status still says of the whole group whether anything fires,
# and those that are left out are the ones that matter least.
# Seen: the alerts are cut in the order of their labels, whether they fire or are over, and status, like the common labels, is then
# taken from what is left. Of a group of node a and node b, with max_alerts 1, the message after the end of a alone says "resolved", and b,
# which fires, is in "truncatedAlerts": 1. A pager that closes its page on "resolved" closes it, and hears of b again after
# repeat_interval at the earliest.
# Seen with prometheus-alertmanager 0.25.0 of Debian 12, and with github.com/prometheus/alertmanager v0.31.1. Source: Notify in
# notify/webhook/webhook.go.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in prometheus-alertmanager:prometheus-alertmanager ip:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
prometheus-alertmanager --version 2>&1 | sed -n 's/ (.*//;1p'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >alertmanager.yml <<'END'
route: {receiver: pager, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}
receivers: [{name: pager, webhook_configs: [{url: "http://127.0.0.1:8000/", send_resolved: true, max_alerts: 1}]}]
END
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import datetime
import http.server
import json
import queue
import subprocess
import sys
import threading
import time
import urllib.request

told = queue.Queue()


class Pager(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        alerts = [a["labels"]["node"] + " " + a["status"] for a in body["alerts"]]
        told.put((body["status"], alerts, body["truncatedAlerts"], body["commonLabels"]["node"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Pager).serve_forever, daemon=True).start()
command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
atexit.register(lambda: (process.kill(), process.wait()))


def send(nodes, **fields):
    """Sends an alert of each node as Prometheus does; an end that is past resolves it."""
    body = json.dumps([{"labels": {"alertname": "PortsExhausted", "node": node}} | fields for node in nodes]).encode()
    request = urllib.request.Request("http://127.0.0.1:9093/api/v2/alerts", body, {"Content-Type": "application/json"})
    for _ in range(600):
        try:
            return urllib.request.urlopen(request).close()
        except OSError:
            time.sleep(0.1)
    sys.exit("Alertmanager does not answer")


def firing():
    with urllib.request.urlopen("http://127.0.0.1:9093/api/v2/alerts") as response:
        return [a["labels"]["node"] for a in json.load(response)]


def show(what, message):
    status, alerts, truncated, common = message
    print(f"{what}: status {status}, alerts {alerts}, truncatedAlerts {truncated}, commonLabels.node {common}")


send("ab")
first = told.get(timeout=60)
show("a and b fire", first)
send("a", endsAt=datetime.datetime.now(datetime.timezone.utc).isoformat())
second = told.get(timeout=60)
show("a ends      ", second)
print("alerts that fire, by the API:", *firing())
if first != ("firing", ["a firing"], 1, "a") or second != ("resolved", ["a resolved"], 1, "a") or firing() != ["b"]:
    sys.exit("the behaviour has changed")
PYTHON
