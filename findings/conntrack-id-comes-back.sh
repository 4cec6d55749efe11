#!/usr/bin/env bash
# The id of a conntrack entry does not tell two connections of one five-tuple apart.
#
# Guess: CTA_ID, which "conntrack -L -o id" prints, names an entry for ever: another id is another connection, the same
# id is still the same one.
# Seen: a connection that takes the five-tuple of one that was reset replaces its entry, and the new entry often has
# the id of the old one. The id is a keyed hash of the entry's address, its tuple and its namespace, and the
# allocator hands the address out again. A state that went back, or a later start time, tells the two apart.
# Seen with Linux 6.18 and conntrack 1.4.7 (Debian 12): 78 to 94 of 99 reconnects. Source: nf_ct_get_id() in
# net/netfilter/nf_conntrack_core.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(conntrack --version)"

ns=ids-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up
ip netns exec "$ns" nft -f - <<-'END'
	table ip t {
		chain c { type filter hook input priority 0; ct state established accept; }
	}
END
ip netns exec "$ns" python3 - <<'END'
import re, socket, struct, subprocess, sys

server = socket.create_server(("127.0.0.1", 8080))
ids, again = [], 0
for _ in range(100):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(("127.0.0.1", 40000))
    client.connect(("127.0.0.1", 8080))
    peer, _ = server.accept()
    table = subprocess.run(["conntrack", "-L", "-p", "tcp", "-o", "id"], capture_output=True, text=True).stdout
    entries = re.findall(r"ESTABLISHED .*sport=40000 .* id=(\d+)", table)
    assert len(entries) == 1, table
    again += entries == ids[-1:]
    ids += entries
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # by RST
    peer.close()
print(f"{again} of {len(ids) - 1} reconnects over one five-tuple got the id of the entry before")
print("ids:", " ".join(ids[:8]), "...")
if not again:
    sys.exit("every connection had an id of its own: the behaviour has changed")
END
