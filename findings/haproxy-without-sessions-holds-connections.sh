#!/usr/bin/env bash
# HAProxy with no current session holds a connection, and a source port, for each session of the last busy moment.
#
# Guess: haproxy_server_current_sessions, scur of the statistics, is how many connections HAProxy has to a server, so that 0
# means none.
# Seen: it counts requests that are under way. After twenty at once, each of whose clients has gone, it is 0, and the twenty
# connections stay open in a pool for further requests; there are that many source ports, and SNAT ports, in use. The
# number is in idle_connections_current and used_connections_current, which the usual dashboards leave out. pool-max-conn,
# pool-purge-delay and http-reuse decide over it; the server's maxconn does not bound it.
# Seen with haproxy 2.6.12 of Debian 12.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 haproxy:haproxy python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
haproxy -v | sed -n '1s/ - .*//p'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/haproxy.cfg" <<'END'
defaults
	mode http
	timeout connect 30s
	timeout client 1m
	timeout server 1m
frontend metrics
	bind 127.0.0.1:8001
	http-request use-service prometheus-exporter if { path /metrics }
listen proxy
	bind 127.0.0.1:8000
	server server 127.0.0.1:9000 pool-purge-delay 10m
END
unshare --net bash -c 'ip link set lo up && exec python3 - "$1"' - "$work/haproxy.cfg" <<'PYTHON'
import atexit
import http.client
import http.server
import re
import subprocess
import sys
import threading
import time
import urllib.request

together = threading.Barrier(20)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 100


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        together.wait()  # until twenty requests are under way
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, *args):
        pass


threading.Thread(target=Server(("127.0.0.1", 9000), Answer).serve_forever, daemon=True).start()
proxy = subprocess.Popen(["haproxy", "-db", "-f", sys.argv[1]], stderr=subprocess.DEVNULL)
atexit.register(lambda: (proxy.kill(), proxy.wait()))


def metrics():
    try:
        text = urllib.request.urlopen("http://127.0.0.1:8001/metrics").read().decode()
    except OSError:
        return {}
    return {name: int(value) for name, value in re.findall(r"^haproxy_server_(\w+)\{.*\} (\d+)$", text, re.M)}


def wait(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)


def request():
    client = http.client.HTTPConnection("127.0.0.1", 8000)
    client.request("GET", "/")
    client.getresponse().read()
    client.close()


wait(metrics)
clients = [threading.Thread(target=request) for _ in range(20)]
for client in clients:
    client.start()
for client in clients:
    client.join()
wait(lambda: metrics()["current_sessions"] == 0)
m = metrics()
command = ["ss", "-Htn", "state", "established", "dst", "127.0.0.1:9000"]
sockets = len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
print("20 requests at once are answered, and their clients gone.")
print(f"current_sessions {m['current_sessions']}, idle_connections_current {m['idle_connections_current']}; ss shows {sockets} connections to the server")
if m["current_sessions"] != 0 or m["idle_connections_current"] != 20 or sockets != 20:
    sys.exit("the behaviour has changed")
PYTHON
