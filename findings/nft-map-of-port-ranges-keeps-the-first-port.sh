#!/usr/bin/env bash
# nft takes a map of port ranges for "snat to ADDRESS : map", and loads the first port of each range alone.
#
# Guess: "snat ip to 203.0.113.5 : numgen inc mod 2 map { 0 : 4928-4943, 1 : 9024-9039 }" gives out 32 ports, as a
# map of "203.0.113.5 . 4928-4943" does.
# Seen: no error. The ruleset that nft lists afterwards has "4928-0" and "9024-0", and flows get the ports 4928 and 9024
# alone: the third flow to a destination is dropped. With the address in the map as well all 32 ports are given out.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12).
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(nft --version), $(conntrack --version)"

ns=map-of-ranges-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up

# ports RULE: prints the ports that 40 flows to one destination leave with, each once.
ports() {
	ip netns exec "$ns" nft -f - <<-END
	flush ruleset
	table ip n {
		chain post {
			type nat hook postrouting priority 100
			meta l4proto udp $1
		}
	}
	END
	ip netns exec "$ns" conntrack -F >/dev/null 2>&1
	for _ in $(seq 40); do
		ip netns exec "$ns" bash -c 'exec 3<>/dev/udp/127.0.0.1/9; echo x >&3' 2>/dev/null || true
	done
	ip netns exec "$ns" conntrack -L -p udp 2>/dev/null | sed -n 's/.* dst=127.0.0.5 .*dport=\([0-9]*\) .*/\1/p' | sort -un
}

alone=$(ports 'snat ip to 127.0.0.5 : numgen inc mod 2 map { 0 : 4928-4943, 1 : 9024-9039 }')
listed=$(ip netns exec "$ns" nft list ruleset | grep -o 'map {.*}')
both=$(ports 'snat ip to numgen inc mod 2 map { 0 : 127.0.0.5 . 4928-4943, 1 : 127.0.0.5 . 9024-9039 }')
echo "a map of ranges: nft lists $listed; flows got the ports" $alone
echo "a map of addresses and ranges: flows got $(wc -w <<<"$both") ports"
[ "$(wc -w <<<"$alone")" = 2 ] || { echo "a map of ranges gives out more than its first ports now" >&2; exit 1; }
[ "$(wc -w <<<"$both")" -gt 2 ] || { echo "a map of addresses and ranges gives out no ranges" >&2; exit 1; }
