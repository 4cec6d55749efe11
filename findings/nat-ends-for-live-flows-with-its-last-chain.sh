#!/usr/bin/env bash
# Without the last NAT chain live flows leave untranslated, while conntrack still lists their translation.
#
# Guess: NAT is decided by a flow's first packet, so that flows which are translated stay so when rules are taken away;
# "nft flush ruleset", followed by the new rules, is safe for them.
# Seen: that holds for a rule that is deleted. The translation itself is done by hooks that exist as long as a chain of type nat
# does. When the last one goes, the next packets of all translated flows leave with their private source address, to servers that do
# not know them, until a chain is there again; then the same translation goes on. conntrack -L shows the public address and the
# port all the while, and so does every count of ports. A stop of a firewall's service, or a reload in two steps, does it.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_nat_unregister_fn() in
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


def run(*command, text=None):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


# A filter that needs conntrack, and counts what leaves, behind NAT.
run("nft", "-f", "-", text="""
table ip w {
    counter translated { }
    counter private { }
    chain c {
        type filter hook postrouting priority srcnat + 10
        ct state invalid drop
        ip saddr 10.0.0.1 ip daddr 10.0.0.9 counter name translated
        ip saddr 10.1.0.1 ip daddr 10.0.0.9 counter name private
    }
}
""")
nat = "table ip t { chain c { type nat hook postrouting priority srcnat; ip saddr 10.1.0.0/16 snat to 10.0.0.1; }; }"
flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
flow.bind(("10.1.0.1", 0))
seen = []


def send(when):
    for _ in range(5):
        flow.sendto(b"x", ("10.0.0.9", 9))
    count = {name: int(n) for name, n in re.findall(r"counter (\S+) \{\s+packets (\d+)", run("nft", "reset", "counters"))}
    listed = bool(re.search(r"src=10.1.0.1 dst=10.0.0.9 .* dst=10.0.0.1 ", run("conntrack", "-L", "-p", "udp")))
    seen.append((count["translated"], count["private"], listed))
    print(f"{when}: of five packets {count['translated']} leave translated, {count['private']} with the private address;"
          f" conntrack lists a translation: {'yes' if listed else 'no'}")


run("nft", nat)
send("with the rule")
run("nft", "flush", "chain", "ip", "t", "c")
send("rule deleted")
run("nft", "delete", "table", "ip", "t")
send("chain deleted")
run("nft", nat)
send("chain and rule back")
if seen != [(5, 0, True), (5, 0, True), (0, 5, True), (5, 0, True)]:
    sys.exit("the behaviour has changed")
PYTHON
