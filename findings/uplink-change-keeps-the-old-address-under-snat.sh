#!/usr/bin/env bash
# After a change of uplink, flows under a snat rule leave by the new uplink with the old one's address, for as long as they send.
#
# Guess: with a rule for each uplink, "oifname X snat to ADDRESS", a flow that is routed to the other uplink gets that one's
# address; or, as NAT is decided once for a flow, neither snat nor masquerade changes anything.
# Seen: the two differ. masquerade notices that the outgoing interface is another one, drops one packet and forgets the entry, so that
# the next packet gets the new address. snat keeps the translation: no answer can come back, and each packet gives the
# entry its full time again, so that a VPN, a SIP phone or a DNS forwarder that sends from one port stays cut off. Its port is
# counted on an address that is no longer in use. "conntrack -D -q ADDRESS", with the old address, ends it.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_nat_inet_fn() and nf_nat_oif_changed() in
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

unshare --net bash -euo pipefail <<'INSIDE'
ip address add 10.1.0.1/32 dev lo
ip link set lo up
for i in 1 2; do
	ip link add "up$i" type veth peer name "provider$i"
	ip link set "up$i" arp off up
	ip link set "provider$i" arp off up
done
ip address add 192.0.2.1/24 dev up1
ip address add 198.51.100.1/24 dev up2
exec python3 - <<'PYTHON'
import re
import socket
import subprocess
import sys

# Counts what leaves, behind NAT.
watch = """
flush ruleset
table ip w {
    counter old-by-new { }
    counter new-by-new { }
    chain c {
        type filter hook postrouting priority srcnat + 10
        oifname up2 ip saddr 192.0.2.1 counter name old-by-new
        oifname up2 ip saddr 198.51.100.1 counter name new-by-new
    }
}
"""


def run(*command, text=None):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def switched(first, second):
    """Of ten packets of a flow after the switch: lost, with the old uplink's address, with the new one's."""
    run("nft", "-f", "-", text=watch)
    run("nft", f"table ip t {{ chain c {{ type nat hook postrouting priority srcnat; oifname up1 {first}; oifname up2 {second}; }}; }}")
    run("ip", "route", "replace", "default", "dev", "up1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flow:
        flow.bind(("10.1.0.1", 0))
        flow.sendto(b"x", ("203.0.113.9", 9))
        run("ip", "route", "replace", "default", "dev", "up2")
        lost = 0
        for _ in range(10):
            try:
                flow.sendto(b"x", ("203.0.113.9", 9))
            except PermissionError:
                lost += 1
    count = {name: int(n) for name, n in re.findall(r"counter (\S+) \{\s+packets (\d+)", run("nft", "list", "counters"))}
    return lost, count["old-by-new"], count["new-by-new"]


snat, masquerade = switched("snat to 192.0.2.1", "snat to 198.51.100.1"), switched("masquerade", "masquerade")
for name, (lost, old, new) in ("snat", snat), ("masquerade", masquerade):
    print(f"{name}: of ten packets after the switch {lost} dropped; by the new uplink {old} with the old address, {new} with the new one")
if snat != (0, 10, 0) or masquerade != (1, 0, 9):
    sys.exit("the behaviour has changed")
PYTHON
INSIDE
