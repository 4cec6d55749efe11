#!/usr/bin/env bash
# "conntrack -F -f ipv6" forgets the IPv4 flows as well.
#
# Guess: -f chooses the family, as it does for -L and -D, where "conntrack -D -f ipv6" deletes the flows of IPv6 alone; so a
# flush with -f ipv6 leaves IPv4 as it is.
# Seen: the whole table of the namespace is emptied, whichever family is named, and the tool says "connection tracking table
# has been emptied". NAT for IPv4 loses all its translations to a command that named IPv6. "conntrack -D -f ipv6" does what
# was meant.
# Seen with conntrack 1.4.7 and nftables 1.0.6 (Debian 12) on Linux 6.18.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
conntrack --version
echo "Linux $(uname -r)"

unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
nft 'table inet t { chain c { type filter hook output priority 0; ct state new accept; }; }'
seen=
after() {
	for port in 1001 1002 1003; do
		echo x >"/dev/udp/127.0.0.1/$port"
		echo x >"/dev/udp/::1/$port"
	done
	conntrack "$@" >/dev/null 2>&1
	v4=$(conntrack -L -f ipv4 2>/dev/null | wc -l) v6=$(conntrack -L -f ipv6 2>/dev/null | wc -l)
	echo "3 flows of each family, then conntrack $*: $v4 of IPv4 and $v6 of IPv6 are left"
	seen+="$v4 $v6, "
	conntrack -F 2>/dev/null
}
after -D -f ipv6
after -F -f ipv6
after -F -f ipv4
[ "$seen" = '3 0, 0 0, 0 0, ' ] || {
	echo 'the behaviour has changed'
	exit 1
}
INSIDE
