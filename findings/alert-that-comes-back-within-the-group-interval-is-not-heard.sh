#!/usr/bin/env bash
# An alert that clears and fires again within Alertmanager's group_interval is heard neither time.
#
# Guess: a page that ends is told as resolved, and one that fires anew, as firing; group_wait, of some seconds, is what can
# swallow a short one.
# Seen: a group is looked at every group_interval (five minutes unless set), and only what differs from what was told last is told.
# An alert that was cleared for four of these minutes is at the next look what it was at the last one. So three exhaustions in five
# minutes, each with its own start, are one page without an end, and who counts notifications, or pages by escalation,
# counts one. The next word about it comes after repeat_interval.
# Seen with prometheus-alertmanager 0.25.0 of Debian 12, with a group_interval of 10 s. Source: dispatch/dispatch.go and
# needsUpdate in notify/notify.go.
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
route: {receiver: pager, group_wait: 1s, group_interval: 10s, repeat_interval: 1h}
receivers: [{name: pager, webhook_configs: [{url: "http://127.0.0.1:8000/", send_resolved: true}]}]
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
        told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["status"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Pager).serve_forever, daemon=True).start()
command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
atexit.register(lambda: (process.kill(), process.wait()))


def alert(**fields):
    """Sends the alert as Prometheus does; an end that is past resolves it."""
    body = json.dumps([{"labels": {"alertname": "PortsExhausted"}} | fields]).encode()
    request = urllib.request.Request("http://127.0.0.1:9093/api/v2/alerts", body, {"Content-Type": "application/json"})
    for _ in range(600):
        try:
            return urllib.request.urlopen(request).close()
        except OSError:
            time.sleep(0.1)
    sys.exit("Alertmanager does not answer")


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


def starts():
    with urllib.request.urlopen("http://127.0.0.1:9093/api/v2/alerts") as response:
        return [a["startsAt"] for a in json.load(response)]


# A busy machine may be held up until the next look falls between the end and the new start: then the round says nothing.
for _ in range(3):
    alert()
    first, begun, = told.get(timeout=60), time.monotonic()
    before = starts()
    for _ in range(3):
        alert(endsAt=now())
        time.sleep(1)
        alert()
        time.sleep(1)
    quick, after = time.monotonic() - begun < 8, starts()
    time.sleep(25)
    more = [told.get() for _ in range(told.qsize())]
    if quick:
        break
    alert(endsAt=now())
    while told.get(timeout=60) != "resolved":
        pass
print(f"the pager is told: {first}. The alert ends and fires again three times, within one group_interval.")
print(f"its start is another one: {before != after}; told within 25 s after that: {', '.join(more) or 'nothing'}")
if not quick or first != "firing" or more or before == after:
    sys.exit("the behaviour has changed")
PYTHON
