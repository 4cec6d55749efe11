#!/usr/bin/env bash
# conntrack says nothing of the end of a flow that began before anybody listened.
#
# Guess: "conntrack -E -e DESTROY" shows each flow that ends from now on, so that a list of the open flows, once taken,
# is kept exact by events.
# Seen: net.netfilter.nf_conntrack_events is 2 unless changed, since Linux 5.19, and then an entry that is made while
# nobody listens never sends an event, also not later. All flows that a listener finds in the table when it starts, or
# that open while it restarts, end without a word and stay in its list. With the value 1 they tell. So a count of SNAT
# ports by events alone grows with each restart.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest (on a machine where another program listens, in any
# namespace, it does not show), and conntrack 1.4.7. Source: nf_ct_ecache_ext_add() in
# net/netfilter/nf_conntrack_ecache.c.
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
	ip link set lo up
	nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
	open() { exec {flow}>"/dev/udp/127.0.0.1/$1" && echo x >&"$flow"; }
	# waits PATTERN waits until the listener has shown it.
	waits() {
		for _ in $(seq 600); do
			! grep -q "$1" events || return 0
			sleep 0.1
		done
		echo "no event of $1"
		return 1
	}
	# ended prints which of two flows, one older and one younger than the listener, have told their end.
	ended() {
		open 5001
		conntrack -E -e NEW,DESTROY >events 2>/dev/null &
		local listener=$!
		for port in $(seq 6000 6100); do
			open "$port"
			! grep -q NEW events || break
			sleep 0.1
		done
		open 5002
		waits 'NEW.*dport=5002'
		conntrack -D -p udp --dport 5001 >/dev/null 2>&1
		conntrack -D -p udp --dport 5002 >/dev/null 2>&1
		waits 'DESTROY.*dport=5002'
		kill "$listener"
		wait "$listener" || true
		echo $(sed -n 's/.*DESTROY.*sport=[0-9]* dport=\(500[12]\) .*src=.*/\1/p' events)
	}
	echo 'flow 5001 opens before the listener starts, flow 5002 after that'
	usual=$(ended)
	echo "nf_conntrack_events=$(sysctl -n net.netfilter.nf_conntrack_events): ends told of $usual"
	sysctl -qw net.netfilter.nf_conntrack_events=1
	always=$(ended)
	echo "nf_conntrack_events=1: ends told of $always"
	[ "$usual" = 5002 ] && [ "$always" = '5001 5002' ] || { echo 'the behaviour has changed'; exit 1; }
GUEST
