#!/usr/bin/env bash
# Flows in two conntrack zones share the ports of a NAT if the zone is that of the original direction alone.
#
# Guess: zones are tables apart, so source NAT gives out each port once in each zone, whichever way the zone is set.
# Seen: a port is free if no reply has it in the zone of the reply direction. "ct zone set" sets both directions, and 32
# ports carry 32 flows in each of two zones. "ct original zone set" (iptables: CT --zone-orig), which sorts clients with
# the same addresses, leaves all replies in zone 0: 32 ports carry 32 flows in all, and the other first packets are lost.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_nat_used_tuple(),
# net/netfilter/nf_nat_core.c, and nf_conntrack_tuple_taken(), nf_conntrack_core.c.
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
client=zoned-client-$id router=zoned-router-$id server=zoned-server-$id
trap 'for n in $client $router $server; do ip netns del "$n" 2>/dev/null || true; done' EXIT
for n in $client $router $server; do ip netns add "$n"; ip -n "$n" link set lo up; done
ip link add c netns "$client" type veth peer name c netns "$router"
ip -n "$client" addr add 10.0.0.2/24 dev c
ip -n "$router" addr add 10.0.0.1/24 dev c
ip -n "$client" link set c up
ip -n "$router" link set c up
ip -n "$client" route add default via 10.0.0.1
ip link add s netns "$router" type veth peer name s netns "$server"
ip -n "$router" addr add 203.0.113.1/24 dev s
ip -n "$server" addr add 203.0.113.10/24 dev s
ip -n "$router" link set s up
ip -n "$server" link set s up
ip netns exec "$router" sysctl -qw net.ipv4.ip_forward=1

# flows STATEMENT: sends 32 first packets in each of two zones under a rule of 32 ports, and prints how many flows there are.
flows() {
	ip netns exec "$router" nft -f - <<-END
	flush ruleset
	table ip nat {
		chain zones {
			type filter hook prerouting priority raw
			iifname "c" $1 set udp sport map { 10000-10999 : 1, 11000-11999 : 2 }
		}
		chain post {
			type nat hook postrouting priority 100
			oifname "s" udp dport 9000 snat to 203.0.113.1:30000-30031
		}
	}
	END
	ip netns exec "$router" conntrack -F >/dev/null 2>&1
	ip netns exec "$client" python3 - <<-'END'
	import socket
	for first in (10000, 11000):
	    for i in range(32):
	        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	        s.bind(("10.0.0.2", first + i))
	        s.sendto(b"x", ("203.0.113.10", 9000))
	        s.close()
	END
	ip netns exec "$router" conntrack -L -p udp --dport 9000 2>/dev/null | grep -c 'dst=203.0.113.1 '
}
ip netns exec "$router" sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600 2>/dev/null || true

both=$(flows 'ct zone')
original=$(flows 'ct original zone')
echo "zones of both directions:              $both flows on 32 ports"
echo "zones of the original direction alone: $original flows on 32 ports"
[ "$both" = 64 ] && [ "$original" = 32 ] || { echo 'the behaviour has changed'; exit 1; }
