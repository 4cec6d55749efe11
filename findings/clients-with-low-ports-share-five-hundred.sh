#!/usr/bin/env bash
# Behind one masqueraded address 511 clients can ask one NTP server, not 64,512.
#
# Guess: an address has 64,512 ports for each destination, from 1024 up, and the rule "snat to ADDRESS" gives out all of
# them.
# Seen: the range depends on the client's own source port. A port below 512 becomes one of 1 to 511, one below 1024 one
# of 600 to 1023, and only others have the large range. The 512th client that asks from port 123, as ntpd does, or 500
# (IKE), or the 425th NFS client, is dropped, while the address is at one hundredth of its ports. A dashboard of ports
# in use shows nothing.
# Seen with Linux 6.18, Debian's 6.1.0-57 and nftables 1.0.6 (Debian 12). Source: nf_nat_l4proto_unique_tuple() in
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

rules = """
table ip t {
    chain c { type nat hook postrouting priority srcnat; ip saddr 10.1.0.0/16 snat to 10.0.0.1; }
}
"""
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def clients(port):
    """Of 1000 clients that send from the port: how many got through, and the lowest and highest port given to them."""
    for i in range(1000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind((f"10.1.{i // 250}.{i % 250 + 1}", port))
            try:
                s.sendto(b"x", ("10.0.0.9", port))
            except PermissionError:  # dropped
                pass
    listing = ["conntrack", "-L", "-p", "udp", "--orig-port-dst", str(port)]
    out = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    given = [int(p) for p in re.findall(r" dst=10.0.0.1 sport=\d+ dport=(\d+)", out)]
    print(f"of 1000 clients with source port {port} {len(given)} got through, as ports {min(given)} to {max(given)}")
    return len(given), min(given), max(given)


ntp, nfs, other = clients(123), clients(700), clients(5000)
if ntp != (511, 1, 511) or nfs != (424, 600, 1023) or other[0] != 1000 or other[1] < 1024:
    sys.exit("the behaviour has changed")
PYTHON
