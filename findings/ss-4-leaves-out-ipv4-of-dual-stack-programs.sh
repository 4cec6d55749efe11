#!/usr/bin/env bash
# "ss -4" leaves out the IPv4 connections of programs that use IPv6 sockets for both families.
#
# Guess: "ss -4tn" lists the TCP connections over IPv4; with "ss -6tn" each connection of the machine is seen once, in
# its family.
# Seen: -4 and -6 choose by the kind of the socket, not of the packets. A connection to ::ffff:203.0.113.7, as Java
# makes all its IPv4 connections and a dual-stack server has all its clients, goes out as IPv4, is an IPv4 entry for
# conntrack and takes an IPv4 SNAT port, but only -6 lists it. Of five such connections "ss -4tn" shows the end that has
# an IPv4 socket, and none of the other end. "ss -tn dst 203.0.113.0/24" without -4 finds both kinds.
# Seen with iproute2 6.1.0 and conntrack 1.4.7 of Debian 12 on Linux 6.18.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ss:iproute2 nft:nftables conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
ss -V
echo "Linux $(uname -r)"

unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import socket
import subprocess
import sys

rules = "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }"
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
server = socket.create_server(("127.0.0.1", 9000))
pairs = []
for _ in range(5):
    client = socket.socket(socket.AF_INET6)
    client.connect(("::ffff:127.0.0.1", 9000))
    pairs.append((client, server.accept()[0]))


def lines(*command):
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())


to_server = ["dport", "=", ":9000"]
four, six = lines("ss", "-4Htn", *to_server), lines("ss", "-6Htn", *to_server)
both = lines("ss", "-Htn", "dst", "127.0.0.0/8", "and", *to_server)
tracked = lines("conntrack", "-L", "-f", "ipv4", "-p", "tcp", "--dport", "9000")
print(f"5 connections over IPv4 to port 9000, {tracked} IPv4 entries of conntrack")
print(f"ss -4 lists {four} of them, ss -6 lists {six}, ss dst 127.0.0.0/8 lists {both}")
if (four, six, both, tracked) != (0, 5, 5, 5):
    sys.exit("the behaviour has changed")
PYTHON
