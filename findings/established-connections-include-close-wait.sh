#!/usr/bin/env bash
# The kernel's count of established connections includes those that the peer has closed and the program has forgotten.
#
# Guess: TcpCurrEstab, which "ss -s" prints as estab and exporters as node_netstat_Tcp_CurrEstab, is the number of
# connections in state ESTABLISHED, as "ss state established" lists them.
# Seen: CLOSE_WAIT counts as well. Five connections whose peer has closed are five established ones by the counter, and
# none by the list. A program that leaks its sockets, and with them a port each, looks like one that has more work.
# Seen with iproute2 6.1.0 of Debian 12 on Linux 6.18 and on Debian's 6.1.0-57. Source: tcp_set_state() in
# net/ipv4/tcp.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ss:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
ss -V
echo "Linux $(uname -r)"

unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import re
import socket
import subprocess
import sys
import time


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def listed(state):
    return len(run("ss", "-Htn", "state", state).splitlines())


server = socket.create_server(("127.0.0.1", 9000))
clients = [socket.create_connection(("127.0.0.1", 9000)) for _ in range(5)]
for _ in clients:
    server.accept()[0].close()
for _ in range(600):
    if listed("close-wait") == 5:
        break
    time.sleep(0.1)
with open("/proc/net/snmp") as f:
    names, values = (line.split() for line in f if line.startswith("Tcp:"))
counter = int(dict(zip(names, values))["CurrEstab"])
summary = int(re.search(r"^TCP: .*estab (\d+)", run("ss", "-s"), re.M)[1])
print(f"TcpCurrEstab {counter}, ss -s: estab {summary}")
print(f"ss lists {listed('established')} in state ESTAB and {listed('close-wait')} in state CLOSE-WAIT")
if (counter, summary, listed("established"), listed("close-wait")) != (5, 5, 0, 5):
    sys.exit("the behaviour has changed")
PYTHON
