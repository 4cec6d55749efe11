#!/usr/bin/env bash
# amtool check-config passes a receiver whose template does not exist, and Alertmanager starts with it and tells nobody.
#
# Guess: a configuration that amtool check-config calls a success, and that Alertmanager loads, can send an alert: both read the
# template files, and know all names in them.
# Seen: the template files are parsed, and the texts of the receivers are not. A misspelt {{ template "ports.titel" . }}, a field
# that alerts do not have, and a brace too few, all pass; then no alert gets out. Only a line in the log for each try and
# alertmanager_notifications_failed_total say so. "amtool template render" finds it, if someone gives it each text by hand.
# Seen with prometheus-alertmanager 0.25.0 of Debian 12, and with github.com/prometheus/alertmanager v0.31.1.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in prometheus-alertmanager:prometheus-alertmanager amtool:prometheus-alertmanager ip:iproute2 python3:python3; do
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
echo '{{ define "ports.title" }}{{ .CommonLabels.alertname }}{{ end }}' >ports.tmpl
cat >alertmanager.yml <<'END'
templates: [ports.tmpl]
route:
  receiver: sound
  group_by: [alertname]
  group_wait: 1s
  routes:
    - {matchers: [alertname="Name"], receiver: name}
    - {matchers: [alertname="Field"], receiver: field}
    - {matchers: [alertname="Brace"], receiver: brace}
receivers:
  - {name: sound, slack_configs: [{api_url: "http://127.0.0.1:8000/", channel: c, title: '{{ template "ports.title" . }}'}]}
  - {name: name, slack_configs: [{api_url: "http://127.0.0.1:8000/", channel: c, title: '{{ template "ports.titel" . }}'}]}
  - {name: field, slack_configs: [{api_url: "http://127.0.0.1:8000/", channel: c, title: '{{ .AlertName }}'}]}
  - {name: brace, slack_configs: [{api_url: "http://127.0.0.1:8000/", channel: c, title: '{{ .Status }'}]}
END
amtool check-config alertmanager.yml >checked || { cat checked; echo 'the behaviour has changed'; exit 1; }
grep -E 'Checking|template|receivers|SUCCESS' checked
unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import atexit
import http.server
import json
import queue
import re
import subprocess
import sys
import threading
import time
import urllib.request

told = queue.Queue()


class Chat(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["attachments"][0]["title"])
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *args):
        pass


threading.Thread(target=http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Chat).serve_forever, daemon=True).start()
command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=data", "--cluster.listen-address="]
log = open("log", "w+")
process = subprocess.Popen(command, stderr=log)
atexit.register(lambda: (process.kill(), process.wait()))


def send(*names):
    body = json.dumps([{"labels": {"alertname": name}} for name in names]).encode()
    request = urllib.request.Request("http://127.0.0.1:9093/api/v2/alerts", body, {"Content-Type": "application/json"})
    for _ in range(600):
        try:
            return urllib.request.urlopen(request).close()
        except OSError:
            time.sleep(0.1)
    sys.exit("Alertmanager does not answer")


def failed():
    with urllib.request.urlopen("http://127.0.0.1:9093/metrics") as response:
        lines = re.findall(r'alertmanager_notifications_failed_total\{.*integration="slack".*\} (\d+)', response.read().decode())
    return sum(map(int, lines))


send("Name", "Field", "Brace", "Sound")
heard = [told.get(timeout=60)]
for _ in range(600):
    if failed() == 3:
        break
    time.sleep(0.1)
time.sleep(10)
heard += [told.get() for _ in range(told.qsize())]
print(f"four alerts fire. Told: {', '.join(heard)}. Failures, ten seconds later: {failed()}")
with open("log") as text:
    causes = sorted(set(re.findall(r"template: ([^\n]*?)\\?\"", text.read())))
print(f"lines of the log that name a template: {len(causes)}")
if heard != ["Sound"] or failed() != 3:
    sys.exit("the behaviour has changed")
PYTHON
