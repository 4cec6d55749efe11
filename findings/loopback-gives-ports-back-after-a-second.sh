#!/usr/bin/env bash
# On loopback a port of a closed connection comes back after a second, to any other address after a minute.
#
# Guess: a test of port exhaustion that passes over 127.0.0.1 tells what happens over the network: who closes a
# connection keeps its port for the 60 s of TIME_WAIT.
# Seen: net.ipv4.tcp_tw_reuse is 2 unless changed, which means: reuse after a second, on loopback only. With ten ports
# and ten new connections every two seconds nothing ever fails to 127.0.0.1. To another address of the same machine, on
# the same interface, every connect of the second round fails. So load tests, CI and demonstrations over localhost show
# no exhaustion that customers have.
# Seen with Linux 6.18 and Debian's 6.1.0-57. Source: tcp_twsk_unique() in net/ipv4/tcp_ipv4.c.
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

prepare='ip link set lo up && ip address add 10.9.0.1/32 dev lo'
ports='sysctl -qw "net.ipv4.ip_local_port_range=40000 40009"'
unshare --net bash -c "$prepare && $ports && sysctl net.ipv4.tcp_tw_reuse && exec python3 -" <<'PYTHON'
import socket
import sys
import time


def rounds(address):
    """How many of ten connects to the address get a port, in three rounds; each closes its connections at once."""
    server = socket.create_server((address, 9000), backlog=20)
    got = []
    for _ in range(3):
        got.append(0)
        for _ in range(10):
            with socket.socket() as client:
                try:
                    client.connect((address, 9000))
                except OSError:
                    continue
                got[-1] += 1
                peer, _ = server.accept()
                client.close()
                peer.close()
        time.sleep(2)
    print(f"ten ports, to {address}: of ten connects {got[0]} succeed, 2 s later {got[1]}, 4 s later {got[2]}")
    return got


if rounds("127.0.0.1") != [10, 10, 10] or rounds("10.9.0.1") != [10, 0, 0]:
    sys.exit("the behaviour has changed")
PYTHON
