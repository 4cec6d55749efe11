#!/usr/bin/env bash
# Listing a table of iptables-legacy makes the kernel set the table up, and other tools say that it is in use.
#
# Guess: "iptables-legacy -t nat -L" only reads, so that a monitoring script may run it anywhere.
# Seen: where nobody has used the table, the kernel makes it to answer. It stays until the namespace ends, and iptables-nft
# then warns at each list that legacy tables are present, though nobody ever set a rule in them.
# /proc/net/ip_tables_names tells which tables there are without making any.
# Seen with Linux 6.18 and iptables 1.8.9 (Debian 12). Source: xt_find_table_lock() in
# net/netfilter/x_tables.c of the kernel.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in iptables-legacy:iptables ip:iproute2; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(iptables-legacy --version)"

ns=list-makes-table-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up

tables() { ip netns exec "$ns" cat /proc/net/ip_tables_names 2>/dev/null | tr '\n' ' '; }

# warns prints how many lines of a list by iptables-nft speak of legacy tables.
warns() { ip netns exec "$ns" iptables-nft -t nat -L 2>&1 | grep -c 'iptables-legacy tables present' || true; }

before="$(tables)" warned_before=$(warns)
ip netns exec "$ns" iptables-legacy -t nat -L >/dev/null
after="$(tables)" warned_after=$(warns)
echo "before the list command: tables \"$before\", $warned_before warnings of iptables-nft"
echo "after it: tables \"$after\", $warned_after warnings of iptables-nft"
[ -z "$before" ] && [ "$warned_before" -eq 0 ] || { echo "a new namespace has legacy tables" >&2; exit 1; }
[ "$after" = "nat " ] && [ "$warned_after" -gt 0 ] || { echo "listing does not make the table any more" >&2; exit 1; }
