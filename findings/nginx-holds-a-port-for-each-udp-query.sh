#!/usr/bin/env bash
# nginx as a UDP proxy holds a source port for ten minutes for each query that was answered in a millisecond.
#
# Guess: behind "listen … udp; proxy_pass SERVER;" a query and its answer are done with, so that a name server behind nginx, asked
# fifty times a second, needs a handful of ports.
# Seen: nginx makes a session of each client's address and port, with a socket of its own, and cannot know that the answer was the last
# one. It waits proxy_timeout, ten minutes unless set, however short the exchange was. With a range of 200 ports 200 queries are
# answered, and then none: connect says EAGAIN, which nginx logs. With the usual 28,232 ports that are 47 queries a second.
# "proxy_responses 1" ends a session with its answer.
# Seen with nginx 1.22.1 of Debian 12 (libnginx-mod-stream).
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

module=/usr/lib/nginx/modules/ngx_stream_module.so
missing=()
for pair in ip:iproute2 nginx:nginx-light python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ -e $module ] || missing+=(libnginx-mod-stream)
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
nginx -v 2>&1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >nginx.conf <<END
load_module $module;
daemon off;
master_process off;
pid nginx.pid;
error_log nginx.log;
events {}
stream {
	server { listen 127.0.0.1:5300 udp; proxy_pass 127.0.0.1:5353; }
	server { listen 127.0.0.1:5301 udp; proxy_pass 127.0.0.1:5353; proxy_responses 1; }
}
END
unshare --net bash -c 'ip link set lo up && sysctl -qw net.ipv4.ip_local_port_range="30000 30199" && exec python3 -' <<'PYTHON'
import atexit
import socket
import subprocess
import sys
import threading
import time

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5353))


def serve():
    while True:
        query, client = server.recvfrom(1500)
        server.sendto(query, client)


threading.Thread(target=serve, daemon=True).start()
proxy = subprocess.Popen(["nginx", "-p", ".", "-c", "nginx.conf"], stderr=subprocess.DEVNULL)
atexit.register(lambda: (proxy.kill(), proxy.wait()))


def sockets(*filters):
    return len(subprocess.run(["ss", "-Haun", *filters], capture_output=True, text=True, check=True).stdout.splitlines())


for _ in range(600):
    if sockets("sport", "=", ":5300") and sockets("sport", "=", ":5301"):
        break
    time.sleep(0.1)


def answered(port, queries):
    """How many of the queries, each from a port of its own below the range, are answered."""
    count = 0
    for i in range(queries):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind(("127.0.0.1", 10000 + i))
        client.connect(("127.0.0.1", port))
        client.send(b"q")
        client.settimeout(10 if count == i else 0.1)
        try:
            count += len(client.recv(1500))
        except TimeoutError:
            pass
        client.close()
    return count


def row(name, port):
    count = answered(port, 250)
    time.sleep(5)
    held = sockets("dst", "127.0.0.1:5353")
    print(f"{name}: {count} of 250 queries are answered, and five seconds later nginx holds {held} ports")
    return count, held


short = row("proxy_responses 1", 5301)
plain = row("without it", 5300)
with open("nginx.log") as log:
    failed = sum("(11: Resource temporarily unavailable) while connecting to upstream" in line for line in log)
print(f"lines of nginx's log that say EAGAIN: {failed}")
if short != (250, 0) or plain != (200, 200) or failed != 50:
    sys.exit("the behaviour has changed")
PYTHON
