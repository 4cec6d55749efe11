#!/usr/bin/env bash
# The limit of the conntrack table is one setting of the machine and holds for each network namespace on its own.
#
# Guess: nf_conntrack_max is how many entries the machine has room for, so that nf_conntrack_count of the host, divided
# by it, tells how full the table is.
# Seen: each namespace has its own count and may reach the limit alone. Two containers with 20 flows each, of a limit of
# 20, drop their new flows, while the host's count is 0 and its drop counter, too. And the machine has 40 entries of its
# 20. A namespace cannot have another limit: there the setting is read-only. So the count and the drops have to be read
# in each namespace that translates.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest, and 6.1.0-57; conntrack 1.4.7. Source:
# __nf_conntrack_alloc() in net/netfilter/nf_conntrack_core.c.
#
# Debian 12, as root. All traffic stays in a guest without a network. Fails if the behaviour changes.
set -euo pipefail
cd "$(dirname "$0")"
. ./guest.bash

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

guest 6.12 <<-'GUEST'
	echo "Linux $(uname -r), $(conntrack --version)"
	tracked='table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
	nft "$tracked"
	sysctl -w net.netfilter.nf_conntrack_max=20
	state() { echo "$(conntrack -C) entries, $(conntrack -S | sed 's/.* \(drop=[0-9]*\).*/\1/')"; }
	for name in first second; do
		ip netns add "$name"
		ip -n "$name" link set lo up
		ip netns exec "$name" nft "$tracked"
		ip netns exec "$name" sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600
		ip netns exec "$name" bash -c '
			for i in $(seq 30); do
				exec {flow}>"/dev/udp/127.0.0.1/$((5000 + i))"
				(echo x >&"$flow") 2>/dev/null || true
			done
		'
	done
	in_namespace() { ip netns exec "$1" bash -c "$(declare -f state); state"; }
	host=$(state) first=$(in_namespace first) second=$(in_namespace second)
	echo "30 new flows in each of two namespaces. First: $first. Second: $second. Host: $host."
	ip netns exec first sysctl -qw net.netfilter.nf_conntrack_max=5 2>/dev/null || true
	limit=$(sysctl -n net.netfilter.nf_conntrack_max)
	echo "After one of them has set the limit to 5 it is $limit."
	# The kernel may evict a flow for a new one, and drops one less then.
	dropped='20 entries, drop=(5|6|7|8|9|10)'
	[[ "$host; $first; $second; $limit" =~ ^'0 entries, drop=0; '$dropped'; '$dropped'; 20'$ ]] || {
		echo 'the behaviour has changed'
		exit 1
	}
GUEST
