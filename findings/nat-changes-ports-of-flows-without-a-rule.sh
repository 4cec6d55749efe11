#!/usr/bin/env bash
# A NAT gateway changes the source port of its own connections, which no rule of it matches.
#
# Guess: a flow that matches no nat rule leaves as it is; the port that the socket has is the port on the wire.
# Seen: where a nat chain exists, the kernel still looks whether another flow has that address, port and destination,
# and takes another port if so. So a gateway that translates clients to its own address gives its own flows new ports as
# soon as a client's flow holds theirs, and conntrack lists them under --src-nat. A flow from another address, beside
# them, keeps its port. Who counts the ports of an address by the rule that gives them out misses such flows; who joins
# ss with a capture finds no match.
# Seen with Linux 6.18, Debian's 6.12.117, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source:
# nf_nat_alloc_null_binding() in net/netfilter/nf_nat_core.c.
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
conntrack --version
echo "Linux $(uname -r)"

unshare --net bash -c 'ip link set lo up && ip address add 10.0.0.1/8 dev lo && exec python3 -' <<'PYTHON'
import re
import socket
import subprocess
import sys

# 10.0.0.1 is the gateway, 10.0.0.5 a client behind it, 10.0.0.7 a machine that no rule names, 10.0.0.9 the server.
rules = """
table ip t {
    chain c { type nat hook postrouting priority srcnat; ip saddr 10.0.0.5 snat to 10.0.0.1; }
}
"""
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)

sockets = []
for source in "10.0.0.5", "10.0.0.1", "10.0.0.7":
    sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    sockets[-1].bind((source, 4000))
    sockets[-1].sendto(b"x", ("10.0.0.9", 9))


def listed(*options):
    """Source of each flow and what the server sees of it."""
    out = subprocess.run(["conntrack", "-L", *options], capture_output=True, text=True, check=True).stdout
    return dict(re.findall(r"src=(\S+) dst=10.0.0.9 sport=4000 .* src=10.0.0.9 (dst=\S+ .*dport=\d+)", out))


flows, translated = listed(), listed("--src-nat")
for source, seen in flows.items():
    print(f"{source}:4000 is {seen} to the server, {'translated' if source in translated else 'not translated'}")
own = flows.pop("10.0.0.1")
expected = {"10.0.0.5": "dst=10.0.0.1 sport=9 dport=4000", "10.0.0.7": "dst=10.0.0.7 sport=9 dport=4000"}
if flows != expected or own == expected["10.0.0.5"] or translated.keys() != {"10.0.0.1", "10.0.0.5"}:
    sys.exit("the behaviour has changed")
PYTHON
