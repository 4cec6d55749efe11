#!/usr/bin/env bash
# A UDP flow with replies is kept for 30 s, not 120 s, and may be evicted first, however many packets it had.
#
# Guess: an answered UDP flow is assured and stays for nf_conntrack_udp_timeout_stream (120 s), an unanswered one for
# nf_conntrack_udp_timeout (30 s); so a DNS query holds its SNAT port for two minutes.
# Seen: what counts is a packet later than two seconds after the first. A hundred queries and answers within that leave
# the flow with 30 s and without [ASSURED], one more query afterwards gives it 120 s and [ASSURED]. So the ports that
# resolvers hold are a fourth of that guess, and a flow of heavy traffic is as easy to evict, in its first two seconds,
# as a port scan's.
# Seen with Linux 6.18, Debian's 6.1.0-57 and conntrack 1.4.7. Source: nf_conntrack_udp_packet() in
# net/netfilter/nf_conntrack_proto_udp.c.
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

unshare --net bash -c 'ip link set lo up && exec python3 -' <<'PYTHON'
import re
import socket
import subprocess
import sys
import time

rules = "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }"
subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5300))


def ask(client, queries):
    for _ in range(queries):
        client.send(b"query")
        _, sender = server.recvfrom(10)
        server.sendto(b"answer", sender)
        client.recv(10)


def entry(client):
    """Seconds that the client's flow is kept for, and whether it is assured."""
    command = ["conntrack", "-L", "-p", "udp", "--sport", str(client.getsockname()[1])]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.match(r"udp +17 (\d+) ", out)[1]), "[ASSURED]" in out


# Another try where the machine was too slow.
for _ in range(20):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.connect(("127.0.0.1", 5300))
    begun = time.monotonic()
    ask(client, 100)
    soon = entry(client)
    if time.monotonic() - begun < 1.5:
        break
time.sleep(2.5)
ask(client, 1)
later = entry(client)
for title, (seconds, assured) in ("100 queries within two seconds", soon), ("one more after that", later):
    print(f"{title}: kept for {seconds} s, {'assured' if assured else 'not assured'}")
if not 25 <= soon[0] <= 30 or soon[1] or not 110 <= later[0] <= 120 or not later[1]:
    sys.exit("the behaviour has changed")
PYTHON
