#!/usr/bin/env bash
# node_exporter counts the backlog limit of each listening socket as bytes that wait to be sent.
#
# Guess: node_tcp_connection_states{state="tx_queued_bytes"} is what the kernel has still to send, and rises when a peer
# or a network is slow; a machine without traffic has 0.
# Seen: for a listening socket the kernel's field has another meaning, its longest queue of connections, and the
# collector adds it up all the same, as it adds the connections that wait to be accepted to rx_queued_bytes. Two idle
# listeners of 4096 and 3000 make 7096 bytes. So the level is that of the number of services, and a service that
# restarts looks like a stall that went away.
# Seen with node_exporter 1.12.1 and Linux 6.18. Source: parseTCPStats in collector/tcpstat_linux.go of the module.
#
# Needs Debian with Go and the Go module proxy, as root. Uses loopback of a network namespace. Fails if the behaviour
# changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
GOBIN=$work go install -p 2 github.com/prometheus/node_exporter@v1.12.1
go version -m "$work/node_exporter" | awk '$1 == "mod" { print $2, $3 }'

unshare --net bash -c 'ip link set lo up && exec python3 - "$1"' - "$work/node_exporter" <<'PYTHON'
import atexit
import re
import socket
import subprocess
import sys
import time
import urllib.request

options = ["--collector.disable-defaults", "--collector.tcpstat", "--web.listen-address=127.0.0.1:9100"]
exporter = subprocess.Popen([sys.argv[1], *options], stderr=subprocess.DEVNULL)
atexit.register(lambda: (exporter.kill(), exporter.wait()))


def queued():
    """The bytes that wait to be sent and to be read, as node_exporter says."""
    for _ in range(600):
        try:
            with urllib.request.urlopen("http://127.0.0.1:9100/metrics") as answer:
                text = answer.read().decode()
            samples = dict(re.findall(r'^node_tcp_connection_states{state="(\w+)"} (.*)', text, re.M))
            return int(samples["tx_queued_bytes"]), int(samples["rx_queued_bytes"])
        except OSError:
            time.sleep(0.1)
    sys.exit("node_exporter does not answer")


def show(title):
    tx, rx = queued()
    print(f"{title}: tx_queued_bytes {tx}, rx_queued_bytes {rx}")
    return tx, rx


alone = show("node_exporter's own listener and nothing else")
server = socket.create_server(("127.0.0.1", 9001), backlog=3000)
listening = show("and one that listens with a backlog of 3000")
clients = [socket.create_connection(("127.0.0.1", 9001)) for _ in range(7)]
waiting = show("and 7 clients that nobody has accepted, without a byte sent")
# A scrape's own connection, as it closes, may count a byte.
if alone[0] < 100 or abs(listening[0] - alone[0] - 3000) > 10 or listening[1] > 1 or waiting[1] not in range(7, 9):
    sys.exit("the behaviour has changed")
PYTHON
