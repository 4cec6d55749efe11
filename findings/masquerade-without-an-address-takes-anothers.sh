#!/usr/bin/env bash
# masquerade on an interface that has no address takes the address of another interface.
#
# Guess: a flow that leaves by a tunnel without an address is dropped, or stays as it is, for masquerade "uses the
# address of the outgoing interface" (nft(8)).
# Seen: the flow leaves with the address of another interface, the first of the machine that has one; a global address
# on loopback comes before all. Answers to it then come in by that interface, if at all.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: inet_select_addr() in net/ipv4/devinet.c.
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

ns=unnumbered-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up
for name in eth0 tun0; do
	ip -n "$ns" link add "$name" type veth peer name "to-$name"
	ip -n "$ns" link set "$name" up
	ip -n "$ns" link set "to-$name" up
done
ip -n "$ns" address add 192.0.2.10/24 dev eth0
ip -n "$ns" address add 10.9.9.9/32 dev eth0 # whose flow it is
ip -n "$ns" route add 203.0.113.0/24 dev tun0 src 10.9.9.9
ip netns exec "$ns" nft -f - <<-END
table ip n {
	chain post {
		type nat hook postrouting priority 100
		oifname "tun0" masquerade
	}
}
END

# leaves prints the address that a flow by tun0 leaves with.
leaves() {
	ip netns exec "$ns" conntrack -F >/dev/null 2>&1
	ip netns exec "$ns" bash -c 'exec 3<>/dev/udp/203.0.113.5/9; echo x >&3' 2>/dev/null || true
	ip netns exec "$ns" conntrack -L -p udp 2>/dev/null | sed -n 's/.*src=10.9.9.9 .*src=203.0.113.5 dst=\([0-9.]*\) .*/\1/p'
}

first=$(leaves)
ip -n "$ns" address add 198.51.100.9/32 dev lo
second=$(leaves)
echo "tun0 has no address; eth0 has 192.0.2.10: the flow leaves with $first"
echo "loopback has 198.51.100.9 too: the flow leaves with $second"
[ "$first" = 192.0.2.10 ] || { echo "masquerade takes no other interface's address any more" >&2; exit 1; }
[ "$second" = 198.51.100.9 ] || { echo "loopback's address does not come first any more" >&2; exit 1; }
