#!/usr/bin/env bash
# A connect that a firewall rejects holds its SNAT port for two minutes; one that the server refuses gives it back at once.
#
# Guess: "reject" is the friendly way to say no: the client learns it at once, and the NAT in between, which sees the
# answer as well, forgets the flow. A port held for two minutes is the price of "drop".
# Seen: to the client both are "connection refused". A reset ends the entry, but "reject" of nft and REJECT of iptables
# answer with ICMP port unreachable unless told otherwise, and an ICMP error changes nothing in the entry of its flow: it
# stays in SYN_SENT for 120 s. A client that tries again ten times a second holds 1,200 ports of a gateway for nothing.
# "reject with tcp reset" does not.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_conntrack_tcp_packet() in
# net/netfilter/nf_conntrack_proto_tcp.c and nf_conntrack_inet_error() in nf_conntrack_proto.c.
#
# Debian, as root. All traffic stays in network namespaces of its own. Fails if the behaviour changes.
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

# The outer namespace is the gateway, with the client on it; the inner one is the server with its firewall.
unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
ip address add 10.1.0.1/32 dev lo
unshare --net sleep 600 &
server=$!
trap 'kill $server' EXIT
until [ "$(readlink /proc/$server/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.1; done
ip link add out type veth peer name eth0 netns $server
ip address add 192.0.2.1/24 dev out
ip link set out up
nft 'table ip t { chain c { type nat hook postrouting priority srcnat; oifname "out" masquerade; }; }'
nsenter --net=/proc/$server/ns/net bash -euo pipefail <<-'END'
	ip address add 192.0.2.9/24 dev eth0
	ip link set eth0 up
	nft 'table ip f { chain c { type filter hook input priority 0; tcp dport 81 reject; tcp dport 82 reject with tcp reset; }; }'
END
python3 - <<'PYTHON'
import errno
import re
import socket
import subprocess
import sys
import time


def attempts(port):
    """How twenty connects to the port end, and in how many entries they leave."""
    ends = set()
    for _ in range(20):
        with socket.socket() as client:
            client.bind(("10.1.0.1", 0))
            client.settimeout(60)
            ends.add(errno.errorcode[client.connect_ex(("192.0.2.9", port))])
    listing = subprocess.run(["conntrack", "-L", "-p", "tcp", "--orig-port-dst", str(port)], capture_output=True, text=True, check=True)
    left = [int(seconds) for seconds in re.findall(r" (\d+) SYN_SENT ", listing.stdout)]
    return sorted(ends), len(left), max(left, default=0)


for _ in range(100):  # until the link is up
    with socket.socket() as probe:
        if probe.connect_ex(("192.0.2.9", 9)) == errno.ECONNREFUSED:
            break
    time.sleep(0.2)
results = {}
for name, port in ("no listener", 80), ("reject with tcp reset", 82), ("reject", 81):
    ends, held, left = results[name] = attempts(port)
    print(f"{name}: 20 connects end with {', '.join(ends)}; entries left: {held}" + (f", for {left} s more" if held else ""))
if [r[:2] for r in results.values()] != [(["ECONNREFUSED"], 0), (["ECONNREFUSED"], 0), (["ECONNREFUSED"], 20)]:
    sys.exit("the behaviour has changed")
PYTHON
INSIDE
