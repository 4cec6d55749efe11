#!/usr/bin/env bash
# The time that "conntrack -E -o timestamp" prints is when conntrack read the event, not when it happened.
#
# Guess: the kernel stamps events, and -o timestamp prints that stamp: two flows that open seconds apart have times that are
# seconds apart, however busy the machine is, and lifetimes can be taken from the times of NEW and DESTROY.
# Seen: the tool looks at its own clock as it prints. Held up for three seconds, it prints both events with the time at which
# it went on, milliseconds apart. Also net.netfilter.nf_conntrack_timestamp=1 changes nothing of that. So a log made on a
# busy machine shows bursts that were none.
# Seen with conntrack-tools 1.4.7 of Debian 12 on Linux 6.18.
#
# Needs root, Debian with apt. Works in a network namespace of its own, over its loopback. Fails if the behaviour changes.
set -euo pipefail

missing=()
while read -r program package; do command -v "$program" >/dev/null || missing+=("$package"); done <<-END
	conntrack conntrack
	nft nftables
	unshare util-linux
	ip iproute2
END
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
conntrack --version
uname -r

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unshare --net -- bash -euo pipefail -s "$work" <<-'END'
	ip link set lo up
	nft add table ip t
	nft add chain ip t c '{ type filter hook output priority 0; }'
	nft add rule ip t c ct state new counter
	echo 1 >/proc/sys/net/netfilter/nf_conntrack_timestamp
	conntrack -E -e NEW -p udp -o timestamp >"$1/events" 2>/dev/null &
	reader=$!
	trap 'kill -KILL $reader 2>/dev/null || true' EXIT
	sleep 1
	kill -STOP $reader
	date +%s.%N >"$1/first"
	echo one >/dev/udp/127.0.0.1/1001
	sleep 3
	echo two >/dev/udp/127.0.0.1/1002
	date +%s.%N >"$1/second"
	kill -CONT $reader
	for _ in $(seq 100); do [ "$(grep -c dport "$1/events")" = 2 ] && break; sleep 0.1; done
	kill $reader
	wait $reader || true
END
sed 's/ src=.*//' "$work/events"
mapfile -t at < <(sed -n 's/^\[\([0-9.]*\)\].*/\1/p' "$work/events")
awk -v a="${at[0]}" -v b="${at[1]}" -v x="$(cat "$work/first")" -v y="$(cat "$work/second")" 'BEGIN {
	printf "opened %.1f s apart, printed %.3f s apart; the first is printed %.1f s late\n", y - x, b - a, a - x
	exit !(y - x > 2.9 && b - a < 1 && a - x > 2.5)
}' || { echo 'the behaviour has changed'; exit 1; }
