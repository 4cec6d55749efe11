#!/usr/bin/env bash
# A source port that was bound before connect is taken from every destination, and ss shows nothing of it.
#
# Guess: a local port is unique per destination, so 60 connections to one server leave all 100 ports of the range to
# another server; where they do not, ss shows why.
# Seen: that holds for ports that connect chose. A port that bind(2) chose (port 0 with an address, as clients do that
# set their source address) is given to no other connect, whatever its destination, for as long as that socket lives. ss
# prints the same line for both kinds. IP_BIND_ADDRESS_NO_PORT leaves the choice to connect.
# Seen with Linux 6.18 and iproute2 6.1 (Debian 12), a range of 100 ports, 60 connections to the first server: 40 to the
# second one after bind, 100 after connect alone and with IP_BIND_ADDRESS_NO_PORT. Source: __inet_hash_connect() in
# net/ipv4/inet_hashtables.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 ss:iproute2 python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(ss -V)"

ns=bound-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up
ip netns exec "$ns" python3 - <<'END'
import re, socket, subprocess, sys

IP_BIND_ADDRESS_NO_PORT = 24
with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as f:
    f.write("40000 40099")
servers = {a: socket.create_server((a, 8080), backlog=1000) for a in ("127.0.0.2", "127.0.0.3")}


def connect(address, how):
    s = socket.socket()
    if how == "bound without a port":
        s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if how != "connected alone":
        s.bind(("127.0.0.1", 0))
    try:
        s.connect((address, 8080))
    except OSError:
        s.close()
        return None
    return s


def left_by(how):
    first = [connect("127.0.0.2", how) for _ in range(60)]
    assert None not in first, how
    lines = subprocess.run(["ss", "-tn", "dst", "127.0.0.2:8080"], capture_output=True, text=True).stdout
    seen = {re.sub(r"127\.0\.0\.\d:40\d+", "LOCAL", line).strip() for line in lines.splitlines()[1:]}
    second = [connect("127.0.0.3", "connected alone") for _ in range(100)]
    free = sum(s is not None for s in second)
    for s in first + second:
        if s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            s.close()  # by RST: no TIME_WAIT
    print(f"60 {how} to one server leave {free} of 100 ports to another; ss shows: {seen}")
    return free, seen


bound, shown = left_by("bound")
alone, shown_alone = left_by("connected alone")
no_port, _ = left_by("bound without a port")
if (bound, alone, no_port) != (40, 100, 100) or shown != shown_alone:
    sys.exit("the behaviour has changed")
END
