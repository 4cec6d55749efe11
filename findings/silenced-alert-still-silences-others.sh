#!/usr/bin/env bash
# In Alertmanager an alert that is silenced, or inhibited itself, goes on inhibiting others.
#
# Guess: an alert that is silenced is out of play, and one that is inhibited, too: the alerts that it stood for are heard.
# Seen: inhibition looks at all alerts that fire, whether anybody hears of them or not. With the rules "GatewayDown mutes
# PortsExhausted" and "PortsExhausted mutes Slow" a silence of GatewayDown, set because that one is known, leaves all three
# unheard, Slow too, which GatewayDown's rule does not name. So one silence for an alert of little weight can hide the page of
# another team; to hear the others the source has to stop firing.
# Seen with prometheus-alertmanager 0.25.0 of Debian 12. Source: inhibit/inhibit.go.
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
route: {receiver: pager, group_by: ["..."], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: pager, webhook_configs: [{url: "http://127.0.0.1:8000/"}]}]
inhibit_rules:
  - {source_matchers: ["alertname=GatewayDown"], target_matchers: ["alertname=PortsExhausted"]}
  - {source_matchers: ["alertname=PortsExhausted"], target_matchers: ["alertname=Slow"]}
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
        for alert in json.loads(self.rfile.read(int(self.headers["Content-Length"])))["alerts"]:
            told.put(alert["labels"]["alertname"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Pager).serve_forever, daemon=True).start()
command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
atexit.register(lambda: (process.kill(), process.wait()))


def api(path, body=None):
    request = urllib.request.Request("http://127.0.0.1:9093/api/v2/" + path)
    if body:
        request = urllib.request.Request(request.full_url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response) if not body or path == "silences" else None


def at(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


def wait(condition):
    for _ in range(600):
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    sys.exit("Alertmanager does not answer")


def state(name):
    return next((a["status"] for a in api("alerts") if a["labels"]["alertname"] == name), {"state": "", "silencedBy": [], "inhibitedBy": []})


wait(lambda: api("status"))
api("silences", {"matchers": [{"name": "alertname", "value": "GatewayDown", "isRegex": False}], "startsAt": at(0), "endsAt": at(3600),
                 "createdBy": "someone", "comment": "known"})
for name in "GatewayDown", "PortsExhausted", "Slow":
    api("alerts", [{"labels": {"alertname": name}}])
    wait(lambda: state(name)["state"] == "suppressed")
# One that no rule names, which ends the wait for pages.
api("alerts", [{"labels": {"alertname": "Other"}}])
pages = [told.get(timeout=60)]
time.sleep(3)
while not told.empty():
    pages.append(told.get())
for name in "GatewayDown", "PortsExhausted", "Slow":
    status = state(name)
    print(f"{name}: silenced {bool(status['silencedBy'])}, inhibited {bool(status['inhibitedBy'])}")
print("paged:", *pages)
if pages != ["Other"] or not state("Slow")["inhibitedBy"] or not state("PortsExhausted")["inhibitedBy"]:
    sys.exit("the behaviour has changed")
PYTHON
