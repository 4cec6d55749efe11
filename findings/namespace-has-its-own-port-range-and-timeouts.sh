#!/usr/bin/env bash
# A container has neither the machine's port range nor its conntrack timeouts, but its TCP buffers and forwarding.
#
# Guess: network settings of a machine hold in its containers as well unless they are set apart there; or else none of them
# do.
# Seen: each new network namespace begins with the kernel's built-in values of most settings, whatever the machine has:
# ip_local_port_range is 32768 to 60999, no port is reserved, conntrack's timeouts are five days and 30 s, its accounting and
# timestamps are off. Copied from the machine are tcp_rmem, the congestion control and IPv4 forwarding; the limit of
# conntrack holds everywhere. So a node that was tuned to 64,000 ports has pods with 28,232, and
# a gateway in a namespace has the timeouts that were changed because they were too long.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest. Source: inet_init_net() in net/ipv4/af_inet.c and
# nf_conntrack_tcp_init_net() in net/netfilter/nf_conntrack_proto_tcp.c.
#
# Debian 12, as root. Everything stays in a guest. Fails if the behaviour changes.
set -euo pipefail
cd "$(dirname "$0")"
. ./guest.bash

missing=()
for pair in nft:nftables sysctl:procps; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

guest 6.12 <<-'GUEST'
	echo "Linux $(uname -r)"
	nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }' # loads conntrack
	settings=(
		net.ipv4.ip_local_port_range='10000	65000'
		net.ipv4.ip_local_reserved_ports=30000-32767
		net.ipv4.tcp_tw_reuse=1
		net.ipv4.tcp_fin_timeout=20
		net.core.somaxconn=333
		net.netfilter.nf_conntrack_tcp_timeout_established=600
		net.netfilter.nf_conntrack_udp_timeout=7
		net.netfilter.nf_conntrack_acct=1
		net.netfilter.nf_conntrack_timestamp=1
		net.ipv4.ip_forward=1
		net.ipv4.tcp_rmem='4096	10000	20000'
		net.ipv4.tcp_congestion_control=reno
		net.netfilter.nf_conntrack_max=77777
	)
	for setting in "${settings[@]}"; do sysctl -qw "$setting"; done
	same=() other=()
	for setting in "${settings[@]}"; do
		name=${setting%%=*} value=${setting#*=}
		inside=$(unshare --net sysctl -n "$name")
		printf '%-55s machine: %-16s new namespace: %s\n' "$name" "$value" "$inside"
		if [ "$inside" = "$value" ]; then same+=("$name"); else other+=("$name"); fi
	done
	[ ${#other[@]} = 9 ] && [ "${same[*]##*.}" = 'ip_forward tcp_rmem tcp_congestion_control nf_conntrack_max' ] || {
		echo 'the behaviour has changed'
		exit 1
	}
GUEST
