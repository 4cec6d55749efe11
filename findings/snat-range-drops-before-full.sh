#!/usr/bin/env bash
# A Linux SNAT rule drops first packets of new flows while it still has free ports.
#
# Guess: a rule with 1,024 ports serves 1,024 flows to one destination, and fails from the 1,025th on.
# Seen: the kernel tries at most 128 ports, from a random start, then a few shorter runs, and drops the packet
# if none is free. With 1,024 ports the first losses come well before the last port is taken; a range of 128
# ports is filled to the last one. Nobody is told: no ICMP, only insert_failed or drop of the conntrack statistics.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12): 1024 first packets left 1010 to 1016
# flows, 128 first packets left 128. Source: nf_nat_l4proto_unique_tuple() in net/netfilter/nf_nat_core.c.
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

# flows PORTS: sends one first packet each for PORTS flows under a rule of as many ports, and prints how many flows there are.
flows() {
	ip netns exec "$router" nft -f - <<-END
	flush ruleset
	table ip nat {
		chain post {
			type nat hook postrouting priority 100
			oifname "s" udp dport 9000 snat to 198.51.100.1:30000-$((30000 + $1 - 1)) random
		}
	}
	END
	ip netns exec "$router" conntrack -F >/dev/null 2>&1
	ip netns exec "$client" python3 - "$1" <<-'END'
	import socket, sys
	for i in range(int(sys.argv[1])):
	    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	    s.bind(("10.0.0.2", 10000 + i))
	    s.sendto(b"x", ("203.0.113.10", 9000))
	    s.close()
	END
	ip netns exec "$router" conntrack -L -p udp --dport 9000 2>/dev/null | grep -c 'dst=198.51.100.1'
}
ip netns exec "$router" sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600

small=$(flows 128)
large=$(flows 1024)
echo "128 first packets over 128 ports:    $small flows"
echo "1024 first packets over 1024 ports:  $large flows, $((1024 - large)) lost beside as many free ports"
[ "$small" = 128 ] && [ "$large" -lt 1024 ] && [ "$large" -gt 850 ] || { echo 'the behaviour has changed'; exit 1; }
