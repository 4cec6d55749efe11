#!/usr/bin/env bash
# HAProxy refuses a connection while 40 of the 100 source ports that it was given are free.
#
# Guess: "server … source ADDRESS:20000-20099" uses any free port of the range, and fails when none is left.
# Seen: for each attempt HAProxy tries the next ten ports of the range, and gives up if other sockets have them; with
# the usual three retries that makes 40. Where 60 ports in a row are taken, the first client is refused and the second
# one gets through, as the search goes on where it ended. So failures begin long before the range is used up, and their
# number does not tell how many ports are left.
# Seen with HAProxy 2.6.12 of Debian 12. Source: tcp_connect_server() in src/proto_tcp.c.
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
	mode tcp
	retries 3
	timeout connect 30s
	timeout client 10m
	timeout server 10m
listen proxy
	bind 127.0.0.1:8000
	server server 127.0.0.1:9000 source 127.0.0.1:20000-20099
END
unshare --net bash -c 'ip link set lo up && exec python3 - "$1"' - "$work/haproxy.cfg" <<'PYTHON'
import atexit
import socket
import subprocess
import sys
import threading
import time

server = socket.create_server(("127.0.0.1", 9000), backlog=200)
taken = [socket.create_server(("127.0.0.1", port)) for port in range(20000, 20060)]
kept = []


def serve():
    while True:
        kept.append(server.accept()[0])
        kept[-1].sendall(b"x")


threading.Thread(target=serve, daemon=True).start()
proxy = subprocess.Popen(["haproxy", "-db", "-f", sys.argv[1]], stderr=subprocess.DEVNULL)
atexit.register(lambda: (proxy.kill(), proxy.wait()))
for _ in range(600):
    listening = subprocess.run(["ss", "-Hltn", "sport", "=", ":8000"], capture_output=True, text=True).stdout
    if listening:
        break
    time.sleep(0.1)


def through():
    """Whether a new client of the proxy gets the server's greeting."""
    kept.append(socket.create_connection(("127.0.0.1", 8000)))
    try:
        return kept[-1].recv(1) == b"x"
    except ConnectionResetError:
        return False


clients = [through() for _ in range(42)]
print("60 of 100 ports are taken. 42 clients, one after the other:")
print(*("through" if ok else "refused" for ok in clients))
# The 40 between the first and the last take the 40 free ports.
if clients != [False] + 40 * [True] + [False]:
    sys.exit("the behaviour has changed")
PYTHON
