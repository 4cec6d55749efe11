#!/usr/bin/env bash
# ss shows a connection as silent for minutes that sends a keepalive every second.
#
# Guess: lastsnd and lastrcv of "ss -i" say when the last packet went out and came in, so that a connection with 300000
# ms in both is one that a NAT with an idle limit of four minutes has forgotten.
# Seen: both count data only. Keepalives and their answers, which hold the NAT's entry, its port and conntrack's
# timeout, leave them as they are; only lastack is young. Four seconds without data and with a keepalive each second:
# lastsnd and lastrcv are 4 s, lastack is below 2 s, and conntrack's entry has all its time. What is idle for the NAT is
# the least of the three.
# Seen with iproute2 6.1.0 and conntrack 1.4.7 of Debian 12 on Linux 6.18. Source: tcp_get_info() in net/ipv4/tcp.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ss:iproute2 nft:nftables conntrack:conntrack python3:python3; do
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

rules = "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }"
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
server = socket.create_server(("127.0.0.1", 9000))
client = socket.create_connection(("127.0.0.1", 9000))
peer, _ = server.accept()
for option, value in (socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 100):
    client.setsockopt(socket.IPPROTO_TCP, option, value)
client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
client.sendall(b"x")
peer.recv(1)
peer.sendall(b"y")
client.recv(1)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# Until a look finds a keepalive's answer that is young while the data is old; one look may come late on a busy machine.
for _ in range(60):
    time.sleep(1)
    line = run("ss", "-Htnoi", "dport", "=", ":9000")
    shown = dict(re.findall(r"(lastsnd|lastrcv|lastack):(\d+)", line))  # those that are not 0 ms
    ages = [int(shown.get(name, 0)) / 1000 for name in ("lastsnd", "lastrcv", "lastack")]
    if ages[0] > 4 and ages[1] > 4 and ages[2] < 2:
        break
left = int(re.search(r"^tcp +6 (\d+) ESTABLISHED", run("conntrack", "-L", "-p", "tcp", "--dport", "9000"))[1])
print(f"lastsnd {ages[0]:.1f} s, lastrcv {ages[1]:.1f} s, lastack {ages[2]:.1f} s, conntrack: {left} of 432000 s left")
if not (ages[0] > 4 and ages[1] > 4 and ages[2] < 2 and 431990 < left <= 432000):
    sys.exit("the behaviour has changed")
PYTHON
