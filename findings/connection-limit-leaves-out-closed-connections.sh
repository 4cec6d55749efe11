#!/usr/bin/env bash
# A limit of nft on a client's connections is no limit on its ports: closed connections do not count and hold theirs.
#
# Guess: "ct count over 5 drop" of nft, as connlimit of iptables, bounds the entries, and so the SNAT ports, that one
# client holds.
# Seen: it leaves out entries in TIME_WAIT and CLOSE, which hold their ports for 120 s and 10 s more. A client that
# opens and closes fifty connections, one after the other, is never over five and holds fifty ports. With connections of
# 50 ms a limit of five keeps up to 12,000. To bound ports, limit the rate of new connections as well.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: already_closed() in
# net/netfilter/nf_conncount.c.
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

unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import socket
import subprocess
import sys
import time

rules = """
table ip t {
    set clients { type ipv4_addr; size 100; flags dynamic; }
    chain c {
        type filter hook output priority filter
        tcp dport 9000 ct state new add @clients { ip saddr ct count over 5 } drop
    }
}
"""
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
server = socket.create_server(("127.0.0.1", 9000))


def connect(timeout):
    client = socket.create_connection(("127.0.0.1", 9000), timeout=timeout)
    return client, server.accept()[0]


opened = 0
for _ in range(50):
    client, peer = connect(timeout=60)
    opened += 1
    client.close()
    peer.close()
    time.sleep(0.02)  # the kernel looks for closed ones once in a tick
entries = int(subprocess.run(["conntrack", "-C"], capture_output=True, text=True, check=True).stdout)
print(f"{opened} connections opened and closed, one after the other: {entries} entries hold {entries} ports")
held = []
try:
    for _ in range(10):
        held.append(connect(timeout=4))
except TimeoutError:
    pass
print(f"connections that stay open: {len(held)}, the next one is dropped")
if (opened, entries, len(held)) != (50, 50, 5):
    sys.exit("the behaviour has changed")
PYTHON
