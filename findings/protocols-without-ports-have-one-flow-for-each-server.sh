#!/usr/bin/env bash
# Behind one masqueraded address one client can talk ESP, GRE or IP in IP to a server; the packets of a second are dropped.
#
# Guess: masquerade translates addresses, and ports where there are any, so tunnels of several clients to one server
# work; or the kernel says that it cannot translate them.
# Seen: two flows of such a protocol differ in nothing but the client, and after translation in nothing at all. The first
# one has the address; every packet of another client is dropped, without an ICMP error, as long as the entry of the first
# lives: 600 s after its last packet (30 s for GRE). So with the first client gone the second one waits ten minutes. It
# is the same shortage as that of ports, with a budget of one for each server, and insert_failed counts it.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_nat_l4proto_unique_tuple() in
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
import re
import socket
import subprocess
import sys

rules = "table ip t { chain c { type nat hook postrouting priority srcnat; ip saddr 10.1.0.0/16 snat to 10.0.0.1; }; }"
subprocess.run(["nft", rules], check=True)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def through(number, server):
    """Of three clients, which ones get a packet of the protocol to the server."""
    got = []
    for client in range(1, 4):
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, number) as s:
            s.bind((f"10.1.0.{client}", 0))
            try:
                s.sendto(b"\x08" + bytes(39) if number == 1 else bytes(40), (server, 0))
                got.append(client)
            except PermissionError:  # dropped
                pass
    return got


results = {}
for name, number in ("ESP", 50), ("GRE", 47), ("IP in IP", 4), ("IPv6 in IP", 41):
    results[name] = through(number, "10.0.0.9"), through(number, "10.0.0.10")
    print(f"{name}: of clients 1 to 3, in this order, these get through: to one server {results[name][0]}, to another {results[name][1]}")
failed = sum(int(n) for n in re.findall(r"insert_failed=(\d+)", run("conntrack", "-S")))
times = [int(t) for t in re.findall(r"^unknown +50 (\d+) ", run("conntrack", "-L"), re.M)]
print(f"insert_failed: {failed}; entries of ESP stay for {times} s")
if any(r != ([1], [1]) for r in results.values()) or failed != 16 or len(times) != 2 or min(times) < 500:
    sys.exit("the behaviour has changed")
PYTHON
