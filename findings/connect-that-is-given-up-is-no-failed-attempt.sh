#!/usr/bin/env bash
# TcpAttemptFails does not count a connect that the program gives up, only one that was refused.
#
# Guess: node_netstat_Tcp_AttemptFails counts connections that could not be opened. When a NAT without free ports drops
# SYNs, it rises.
# Seen: a program with a time limit of its own, as nearly every client has, closes the socket before the kernel gives
# up, and that counts as nothing. Ten connects that nobody answers raise ActiveOpens by 10 and AttemptFails by 0; ten
# refused ones raise both. So an alert on AttemptFails is silent in the one case that it was written for. (The kernel's
# own limit is more than two minutes.)
# Seen with Linux 6.18, Debian's 6.1.0-57 and nftables 1.0.6 (Debian 12). Source: tcp_done() and __tcp_close() in
# net/ipv4/tcp.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r)"

unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import socket
import subprocess
import sys

rules = "table ip t { chain c { type filter hook input priority 0; tcp dport 9002 drop; }; }"
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def counters():
    with open("/proc/net/snmp") as f:
        names, values = (line.split()[1:] for line in f if line.startswith("Tcp:"))
    return dict(zip(names, map(int, values)))


def ten(port):
    """How far (ActiveOpens, AttemptFails) go up with ten connects to the port, and the error of the last one."""
    before = counters()
    for _ in range(10):
        with socket.socket() as client:
            client.settimeout(0.2)
            try:
                client.connect(("127.0.0.1", port))
                error = None
            except OSError as e:
                error = e
    after = counters()
    return tuple(after[name] - before[name] for name in ("ActiveOpens", "AttemptFails")), error


refused, error = ten(9001)
print(f"ten connects, {error}: ActiveOpens +{refused[0]}, AttemptFails +{refused[1]}")
dropped, error = ten(9002)
print(f"ten connects, {error}: ActiveOpens +{dropped[0]}, AttemptFails +{dropped[1]}")
if refused != (10, 10) or dropped != (10, 0):
    sys.exit("the behaviour has changed")
PYTHON
