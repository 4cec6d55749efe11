#!/usr/bin/env bash
# When a machine has no local port left for a destination, connect fails and not one counter of the kernel moves.
#
# Guess: a connect that fails for want of a port (EADDRNOTAVAIL) is counted somewhere: in AttemptFails, or one of the
# 300 others in /proc/net/snmp and /proc/net/netstat, which nstat and node_exporter show.
# Seen: after a thousand such failures every one of them is what it was, ActiveOpens included. Only the program that
# failed knows. Who watches a node for running out of ports has to count the ports, or the programs' errors: no rate of
# failures will ever show it.
# Seen with Linux 6.18. Source: tcp_v4_connect() in net/ipv4/tcp_ipv4.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 sysctl:procps python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r)"

prepare='ip link set lo up && sysctl -qw "net.ipv4.ip_local_port_range=40000 40009"'
unshare --net bash -c "$prepare && exec python3 -" <<'PYTHON'
import collections
import errno
import socket
import sys


def counters():
    """Every counter of IP, ICMP, TCP and UDP that the kernel has for this namespace."""
    found = {}
    for name in "/proc/net/snmp", "/proc/net/netstat":
        with open(name) as f:
            lines = [line.split() for line in f]
        for names, values in zip(lines[::2], lines[1::2]):
            found |= {names[0] + n: v for n, v in zip(names[1:], values[1:])}
    return found


def connect():
    client = socket.socket()
    try:
        client.connect(("127.0.0.1", 9000))
        return client
    except OSError as e:
        client.close()
        return errno.errorcode[e.errno]


server = socket.create_server(("127.0.0.1", 9000), backlog=100)
held = [connect() for _ in range(10)]
peers = [server.accept()[0] for _ in held]
before = counters()
results = collections.Counter(map(str, (connect() for _ in range(1000))))
after = counters()
moved = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
print(f"10 connects took the 10 ports of the range. 1000 more: {dict(results)}")
print(f"of {len(before)} counters these moved: {moved or 'none'}")
if results != {"EADDRNOTAVAIL": 1000} or moved:
    sys.exit("the behaviour has changed")
PYTHON
