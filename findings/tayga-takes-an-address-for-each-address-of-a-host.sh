#!/usr/bin/env bash
# tayga is NAT64 without ports: each IPv6 address takes an IPv4 address of the pool for two hours, so that a host with
# temporary addresses uses the pool up alone.
#
# Guess: a NAT64 shares its IPv4 addresses by ports, as RFC 6146 has it: a pool of eight serves thousands of flows of any
# number of hosts.
# Seen: each source address that sends one packet is given a pool address of its own and keeps it for two hours and four
# minutes after its last. A host that makes a new temporary address (RFC 8981) takes another each time, and the one after
# the last of the pool gets no answer at all while nothing else is wrong. The pool 192.168.255.0/29, less tayga's own
# address and the first, is six. A masquerade rule behind tayga gives these flows ports, but its limit comes second: the
# pool has to be as large as all addresses that were in use in two hours.
# Seen with tayga 0.9.2-8 of Debian 12. How long an address stays: tayga.conf(5).
#
# Debian, as root. All traffic stays in network namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in tayga:tayga ip:iproute2 ping:iputils-ping; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "tayga $(dpkg-query -W -f '${Version}' tayga)"

host=tayga-host-$$ gateway=tayga-gateway-$$ work=$(mktemp -d) pid=
end() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	for n in "$host" "$gateway"; do ip netns del "$n" 2>/dev/null || true; done
	rm -rf "$work"
}
trap end EXIT
for n in "$host" "$gateway"; do ip netns add "$n"; ip -n "$n" link set lo up; done
ip -n "$gateway" link add h0 type veth peer name eth0 netns "$host"
ip -n "$gateway" address add 2001:db8:1::1/64 dev h0 nodad
ip -n "$gateway" address add 203.0.113.1/32 dev lo # the server
ip -n "$gateway" link set h0 up
ip -n "$host" link set eth0 up
for i in $(seq 2 9); do ip -n "$host" address add "2001:db8:1::$i/64" dev eth0 nodad; done
ip -n "$host" -6 route add default via 2001:db8:1::1
ip netns exec "$gateway" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
cat >"$work/tayga.conf" <<-END
	tun-device nat64
	ipv4-addr 192.168.255.1
	prefix 2001:db8:64::/96
	dynamic-pool 192.168.255.0/29
	data-dir $work
END
ip netns exec "$gateway" tayga -c "$work/tayga.conf" --mktun >/dev/null
ip -n "$gateway" link set nat64 up
ip -n "$gateway" route add 192.168.255.0/29 dev nat64
ip -n "$gateway" -6 route add 2001:db8:64::/96 dev nat64
ip netns exec "$gateway" tayga -c "$work/tayga.conf" -d >"$work/log" 2>&1 &
pid=$!

answered=
for i in $(seq 2 9); do
	# The first waits for tayga, the others have as long.
	if ip netns exec "$host" ping -q -c 3 -W 2 -I "2001:db8:1::$i" 2001:db8:64::203.0.113.1 >/dev/null; then
		answered+=" $i"
	fi
done
first=$(ip netns exec "$host" ping -q -c 3 -W 2 -I 2001:db8:1::2 2001:db8:64::203.0.113.1 >/dev/null && echo yes || echo no)
echo "of one host's addresses ::2 to ::9 these were answered:$answered; the first still is: $first"
[ "$answered $first" = ' 2 3 4 5 6 7 yes' ] || { echo "addresses share the pool now" >&2; exit 1; }
