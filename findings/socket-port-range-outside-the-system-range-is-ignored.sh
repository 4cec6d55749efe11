#!/usr/bin/env bash
# A socket's own port range is ignored, without an error, where it lies outside the system's.
#
# Guess: after setsockopt(IP_LOCAL_PORT_RANGE, 61000-61999) a connect takes one of these ports, or setsockopt refuses
# them. That is how a program is given ports of its own.
# Seen: setsockopt returns 0 and getsockopt gives the range back, but a connect takes a port of
# net.ipv4.ip_local_port_range when the socket's range lies outside it. Of a range that overlaps, the end that lies
# outside is replaced by the system's: 20000-32777 gives 32768-32777, so that who asked for 12,778 ports has ten. So the
# budget of such a program has to be computed from both.
# Seen with Linux 6.18 and Debian's 6.12.117. Source: inet_sk_get_local_port_range() in net/ipv4/inet_connection_sock.c.
#
# Debian with Linux 6.3 or later, as root. All traffic stays in a network namespace of its own. Fails if the behaviour
# changes.
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

prepare='ip link set lo up && sysctl -w "net.ipv4.ip_local_port_range=32768 60999"'
unshare --net bash -c "$prepare && exec python3 -" <<'PYTHON'
import socket
import struct
import sys

IP_LOCAL_PORT_RANGE = 51  # of include/uapi/linux/in.h: the upper 16 bits are the last port, the lower the first
server = socket.create_server(("127.0.0.1", 9000), backlog=100)


def taken(low, high):
    """The ports that 30 connects take from sockets that ask for the range; None is a connect without a port."""
    ports, held = [], []
    for _ in range(30):
        client = socket.socket()
        held.append(client)
        client.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, struct.pack("=I", high << 16 | low))
        (kept,) = struct.unpack("=I", client.getsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, 4))
        assert kept == high << 16 | low
        try:
            client.connect(("127.0.0.1", 9000))
            ports.append(client.getsockname()[1])
        except OSError:
            ports.append(None)
    got = [p for p in ports if p]
    print(f"asked for {low}-{high}, read back the same: {len(got)} of 30 connects got ports {min(got)} to {max(got)}")
    return got


inside, outside, across = taken(40000, 40099), taken(61000, 61999), taken(20000, 32777)
if not (
    len(inside) == len(outside) == 30
    and all(40000 <= p <= 40099 for p in inside)
    and all(32768 <= p <= 60999 for p in outside)
    and sorted(across) == list(range(32768, 32778))
):
    sys.exit("the behaviour has changed")
PYTHON
