#!/usr/bin/env bash
# masquerade gives out the ports that ip_local_reserved_ports reserves, and those outside ip_local_port_range.
#
# Guess: net.ipv4.ip_local_reserved_ports keeps ports from being given out, as to connections that Kubernetes' NodePorts
# or a service's fixed port need; what masquerade gives out comes from the machine's local ports, so that both settings
# hold for it.
# Seen: the two settings are for sockets. A rule for NAT without a range of its own takes ports from 1024 to 65535,
# reserved or not: with all these ports but one reserved, forty of forty flows get a reserved one. So the range that a
# gateway's budget is computed from is neither setting's, and ports are kept free by a range in the rule only ("masquerade
# to :40000-60000").
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_nat_l4proto_unique_tuple() in
# net/netfilter/nf_nat_core.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack sysctl:procps python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
nft --version
echo "Linux $(uname -r)"

unshare --net bash -c 'ip link set lo up && ip address add 10.0.0.1/8 dev lo && exec python3 -' <<'PYTHON'
import errno
import re
import socket
import subprocess
import sys

rules = "table ip t { chain c { type nat hook postrouting priority srcnat; ip saddr 10.1.0.0/16 snat to 10.0.0.1 random; }; }"
subprocess.run(["nft", rules], check=True)
settings = "net.ipv4.ip_local_port_range=50000 50000", "net.ipv4.ip_local_reserved_ports=1024-49999,50001-65535"
subprocess.run(["sysctl", "-qw", *settings], check=True)
for i in range(40):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("10.1.0.1", 2000 + i))
        client.sendto(b"x", ("10.0.0.9", 9))
out = subprocess.run(["conntrack", "-L", "-p", "udp"], capture_output=True, text=True, check=True).stdout
ports = [int(port) for port in re.findall(r" dst=10.0.0.1 sport=9 dport=(\d+)", out)]
reserved = [port for port in ports if port != 50000]

# For comparison: sockets of the machine itself.
server = socket.create_server(("10.0.0.9", 9))
kept, ends = [], []
for _ in range(2):
    kept.append(socket.socket())
    failed = kept[-1].connect_ex(("10.0.0.9", 9))
    ends.append(errno.errorcode[failed] if failed else kept[-1].getsockname()[1])
print(f"every port from 1024 but 50000 is reserved. Of {len(ports)} flows through NAT {len(reserved)} have a reserved port, {min(ports)} to {max(ports)}")
print(f"two connects of the machine itself: {ends[0]}, {ends[1]}")
if len(ports) != 40 or len(reserved) < 35 or ends != [50000, "EADDRNOTAVAIL"]:
    sys.exit("the behaviour has changed")
PYTHON
