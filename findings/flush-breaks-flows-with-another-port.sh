#!/usr/bin/env bash
# A flush of conntrack on a NAT gateway breaks the connections whose port was changed, and no others.
#
# Guess: "conntrack -F" either breaks every connection through the gateway, as their translations are lost, or none, as
# the next packet of each makes an entry again.
# Seen: the next packet is translated anew, as if it opened a connection. Without flags the kernel keeps the source port if
# it is free, so that the server sees what it saw before, and all go on. With fully-random (kube-proxy's masquerade has it),
# or where the port was taken, the packet gets another port, the server does not know the connection, and it ends: ten of
# ten. So a test without load, or without the flag, says that a flush is harmless.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: get_unique_tuple() in
# net/netfilter/nf_nat_core.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
nft --version
echo "Linux $(uname -r)"

unshare --net bash -c 'ip link set lo up && ip address add 10.0.0.1/8 dev lo && exec python3 -' <<'PYTHON'
import select
import socket
import subprocess
import sys


def survivors(server, first, flags):
    """How many of ten connections still carry a byte after a flush, and how many had their port changed."""
    rules = f"flush ruleset; table ip t {{ chain c {{ type nat hook postrouting priority srcnat; ip saddr 10.1.0.0/16 snat to 10.0.0.1 {flags}; }}; }}"
    subprocess.run(["nft", rules], check=True)
    listener = socket.create_server(("10.0.0.9", server))
    ends, changed = {}, 0
    for i in range(10):
        client = socket.socket()
        client.bind(("10.1.0.1", first + i))
        client.connect(("10.0.0.9", server))
        end, (_, port) = listener.accept()
        changed += port != first + i
        ends[end] = client
    subprocess.run(["conntrack", "-F"], check=True, capture_output=True)
    for client in ends.values():
        client.send(b"x")
    arrived = set()
    while ready := select.select(list(ends.keys() - arrived), [], [], 5)[0]:
        arrived |= {end for end in ready if end.recv(1) == b"x"}
    return changed, len(arrived)


kept = survivors(9000, 20000, "")
random = survivors(9001, 21000, "fully-random")
print(f"snat: {kept[0]} of 10 ports were changed, {kept[1]} connections carry a byte after conntrack -F")
print(f"snat fully-random: {random[0]} of 10 ports were changed, {random[1]} connections carry a byte after conntrack -F")
if kept != (0, 10) or random != (10, 0):
    sys.exit("the behaviour has changed")
PYTHON
