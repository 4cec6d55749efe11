#!/usr/bin/env bash
# In a network namespace without any socket, "ss -s" counts hundreds of closed TCP connections: the open ones of other
# namespaces.
#
# Guess: ss -s sums up what "ss -a" lists, so "closed" is how many connections of this namespace are closed and not yet
# freed.
# Seen: ss takes the TCP sockets that exist ("alloc" of /proc/net/sockstat, which is of the whole machine) and subtracts
# those in use ("inuse" of the same line, which is of this namespace). Every connection that another namespace opens is
# one more "closed" here. Who looks for leaked sockets inside a pod, or exports node_sockstat_TCP_alloc from one, reads
# the whole node.
# Seen with iproute2 6.1.0 of Debian 12 on Linux 6.18.
#
# Debian, as root. All traffic stays in network namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ss:iproute2 unshare:util-linux python3:python3; do
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
import statistics
import subprocess
import sys


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def summary(where):
    """The numbers (established, closed) of ss -s in a new namespace without sockets."""
    line = re.search(r"^TCP: .*\(estab (\d+), closed (\d+),.*", run("unshare", "--net", "ss", "-s"), re.M)
    print(f"{where}: {line[0]}")
    return int(line[1]), int(line[2])


server = socket.create_server(("127.0.0.1", 9000), backlog=400)
assert run("unshare", "--net", "ss", "-Htan") == ""
established, more = set(), []
# Five times, as other programs of the machine open and close some connections meanwhile.
for _ in range(5):
    estab, closed_before = summary("a namespace without sockets")
    pairs = [(socket.create_connection(("127.0.0.1", 9000)), server.accept()[0]) for _ in range(400)]
    estab_then, closed = summary("the same, with 800 sockets in another one")
    established |= {estab, estab_then}
    more.append(closed - closed_before)
    for pair in pairs:
        for s in pair:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.close()
print(f"closed went up by {statistics.median(more)} (median), established stayed at {established}")
if established != {0} or not 600 < statistics.median(more) < 1000:
    sys.exit("the behaviour has changed")
PYTHON
