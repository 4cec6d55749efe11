#!/usr/bin/env bash
# An alert that ends while it is silenced or inhibited is never told as resolved, so for the pager it goes on.
#
# Guess: a silence, or an inhibition, holds back what would disturb; that an alert, told before, is over, is told all the same, or at
# the latest when the silence ends.
# Seen: the end is filtered like the alert, and then the alert leaves its group as if it had been told. After the silence nothing
# follows. So the page that somebody silenced while mending it stays open in the pager, and an alert that another one inhibits
# for its last minute is counted as if it lasted for ever. send_resolved, which is on, changes nothing.
# Seen with prometheus-alertmanager 0.25.0 of Debian 12, and with github.com/prometheus/alertmanager v0.31.1. Source: MuteStage in
# notify/notify.go, and aggrGroup.flush in dispatch/dispatch.go.
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
receivers: [{name: pager, webhook_configs: [{url: "http://127.0.0.1:8000/", send_resolved: true}]}]
inhibit_rules: [{source_matchers: [alertname="GatewayDown"], target_matchers: [alertname="Inhibited"]}]
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
        told.put((body["groupLabels"]["alertname"], body["status"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Pager).serve_forever, daemon=True).start()
command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
atexit.register(lambda: (process.kill(), process.wait()))


def ask(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request("http://127.0.0.1:9093/api/v2/" + path, data, {"Content-Type": "application/json"}, method=method)
    for _ in range(600):
        try:
            with urllib.request.urlopen(request) as response:
                return response.read()
        except OSError:
            time.sleep(0.1)
    sys.exit("Alertmanager does not answer")


def now(later=0):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=later)).isoformat()


def fire(*names):
    ask("POST", "alerts", [{"labels": {"alertname": name}} for name in names])


def end(*names):
    ask("POST", "alerts", [{"labels": {"alertname": name}, "endsAt": now()} for name in names])


heard = []


def hear(*events):
    """Reads what the pager is told until all the events were among it."""
    while not set(events) <= set(heard):
        heard.append(told.get(timeout=60))


fire("Plain", "Silenced", "Inhibited")
hear(("Plain", "firing"), ("Silenced", "firing"), ("Inhibited", "firing"))
matcher = {"name": "alertname", "value": "Silenced", "isRegex": False, "isEqual": True}
silence = {"matchers": [matcher], "startsAt": now(), "endsAt": now(3600), "createdBy": "x", "comment": "x"}
silence = json.loads(ask("POST", "silences", silence))["silenceID"]
fire("GatewayDown")
hear(("GatewayDown", "firing"))
end("Plain", "Silenced", "Inhibited")
hear(("Plain", "resolved"))
time.sleep(10)
# Five looks later both causes end.
ask("DELETE", "silence/" + silence)
end("GatewayDown")
hear(("GatewayDown", "resolved"))
time.sleep(10)
while not told.empty():
    heard.append(told.get())
for name in "Plain", "Silenced", "Inhibited", "GatewayDown":
    print(f"{name}: {', '.join(status for other, status in heard if other == name)}")
if [heard.count((name, "resolved")) for name in ("Plain", "Silenced", "Inhibited", "GatewayDown")] != [1, 0, 0, 1]:
    sys.exit("the behaviour has changed")
PYTHON
