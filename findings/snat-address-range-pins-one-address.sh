#!/usr/bin/env bash
# A Linux SNAT rule with two addresses gives one client and one server only one of them.
#
# Guess: "snat to A-B" spreads flows over both addresses, so a second address doubles the flows that a
# client can have to one server.
# Seen: the kernel picks the address by a hash of the client's and the server's address. All flows of
# the pair get the same one, and when its ports are used up the other is not tried. A numgen map, which
# picks an address for each first packet, uses both.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: find_best_ips_proto() in
# net/netfilter/nf_nat_core.c of the kernel.
#
# Debian, as root. All traffic stays in network namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack python3:python3; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(nft --version), $(conntrack --version)"

id=$$
client=client-$id router=router-$id server=server-$id
trap 'for n in $client $router $server; do ip netns del "$n" 2>/dev/null || true; done' EXIT
for n in $client $router $server; do ip netns add "$n"; ip -n "$n" link set lo up; done
ip link add c netns "$client" type veth peer name c netns "$router"
ip link add s netns "$server" type veth peer name s netns "$router"
ip -n "$client" addr add 10.0.0.2/24 dev c
ip -n "$router" addr add 10.0.0.1/24 dev c
ip -n "$router" addr add 203.0.113.1/24 dev s
ip -n "$server" addr add 203.0.113.10/24 dev s
for n in $client $router; do ip -n "$n" link set c up; done
for n in $router $server; do ip -n "$n" link set s up; done
ip -n "$client" route add default via 10.0.0.1
ip -n "$server" route add default via 203.0.113.1
ip netns exec "$router" sysctl -qw net.ipv4.ip_forward=1

# addresses RULE: sends the first packet of 60 flows under RULE and prints how many addresses they got, and how many flows.
addresses() {
	ip netns exec "$router" nft -f - <<-END
	flush ruleset
	table ip nat {
		chain post {
			type nat hook postrouting priority 100
			oifname "s" udp dport 9000 $1
		}
	}
	END
	ip netns exec "$router" conntrack -F >/dev/null 2>&1
	ip netns exec "$client" python3 - <<-'END'
	import socket
	flows = []
	for port in range(20000, 20060):
	    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	    s.bind(("10.0.0.2", port))
	    s.sendto(b"x", ("203.0.113.10", 9000))
	    flows.append(s)
	END
	ip netns exec "$router" conntrack -L -p udp --dport 9000 2>/dev/null |
		grep -o 'dst=198[0-9.]*' | sort | uniq -c | awk '{n += $1} END {print NR, n}'
}

range=$(addresses 'snat to 198.51.100.1-198.51.100.2')
map=$(addresses 'snat to numgen inc mod 2 map { 0 : 198.51.100.1, 1 : 198.51.100.2 }')
echo "snat to a range of two addresses: addresses used and flows: $range"
echo "snat to a numgen map of two:      addresses used and flows: $map"
[ "$range" = '1 60' ] && [ "$map" = '2 60' ] || { echo 'the behaviour has changed'; exit 1; }
