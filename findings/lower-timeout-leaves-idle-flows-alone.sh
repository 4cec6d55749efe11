#!/usr/bin/env bash
# A lower timeout of conntrack does nothing for the flows that are idle, which are those that it was lowered for.
#
# Guess: with a full table, or a NAT without ports, net.netfilter.nf_conntrack_tcp_timeout_established set from five days
# to ten minutes frees everything that was silent for ten minutes.
# Seen: an entry got its time at its last packet and keeps it. The setting counts for the next packet of a flow, so that
# it shortens the time of the busy flows, and of the idle ones not at all: they stay for what is left of five days.
# "conntrack -U -p tcp -s CLIENT -t 600" changes entries that exist.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_ct_refresh_acct() in
# net/netfilter/nf_conntrack_core.c.
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
import re
import socket
import subprocess
import sys

rules = "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }"
subprocess.run(["nft", rules], check=True)


def left(connection):
    """How many seconds the entry of the connection has left."""
    port = str(connection.getsockname()[1])
    out = subprocess.run(["conntrack", "-L", "-p", "tcp", "--orig-port-src", port], capture_output=True, text=True, check=True)
    return int(re.search(r"tcp +6 (\d+) ESTABLISHED", out.stdout)[1])


server = socket.create_server(("127.0.0.1", 9000))
idle, busy = (socket.create_connection(("127.0.0.1", 9000)) for _ in range(2))
peers = [server.accept()[0] for _ in range(2)]
subprocess.run(["sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_established=600"], check=True)
busy.sendall(b"x")
peers[1].recv(1)
set_idle, set_busy = left(idle), left(busy)
print(f"timeout set to 600 s: the idle flow has {set_idle} s left, one with a packet since {set_busy} s")
subprocess.run(["conntrack", "-U", "-p", "tcp", "-s", "127.0.0.1", "-t", "600"], capture_output=True, check=True)
updated = left(idle)
print(f"after conntrack -U -p tcp -s 127.0.0.1 -t 600: {updated} s")
if set_idle < 400_000 or set_busy > 600 or updated > 600:
    sys.exit("the behaviour has changed")
PYTHON
