#!/usr/bin/env bash
# A clock that is set moves the age of every conntrack entry: it is 584 thousand million years after an hour back.
#
# Guess: the time at which an entry began, and its age, which conntrack prints as delta-time, are measured by the kernel's own
# clock, which nobody sets, as the entry's timeout is.
# Seen: start and stop are readings of the wall clock. After the clock was set an hour ahead an entry of four seconds has an age
# of an hour; after an hour back the start lies in the future, and delta-time is -3600 without its sign. Lifetimes computed
# from a start before the step and a stop behind it are wrong by the step, which a machine without a battery, or a guest that
# was paused, makes in its first minute. The timeout goes on as it should.
# Seen with Debian's linux-image-6.12.117+deb12-amd64 in a guest, conntrack 1.4.7 and nftables 1.0.6. Source:
# ctnetlink_dump_timestamp() in net/netfilter/nf_conntrack_netlink.c and nf_conntrack_timestamp.h.
#
# Debian 12, as root. Everything stays in a guest, whose clock is set. Fails if the behaviour changes.
set -euo pipefail
cd "$(dirname "$0")"
. ./guest.bash

missing=()
for pair in nft:nftables conntrack:conntrack; do
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
	sysctl -qw net.netfilter.nf_conntrack_timestamp=1 net.netfilter.nf_conntrack_udp_timeout=600
	age() { # of a new entry, after the step
		echo x >"/dev/udp/127.0.0.1/$1"
		date -s "$2" >/dev/null
		conntrack -L -p udp --orig-port-dst "$1" -o ktimestamp 2>/dev/null >entry
		delta=$(sed 's/.*delta-time=\([0-9]*\).*/\1/' entry) left=$(awk '{ print $3 }' entry)
	}
	age 1001 '+1 hour'
	ahead=$delta ahead_left=$left
	age 1002 '-1 hour'
	back=$delta back_left=$left
	echo "an entry of some seconds, after the clock was set an hour ahead: delta-time=$ahead, $ahead_left of 600 s left"
	echo "another one, after it was set an hour back: delta-time=$back, $back_left of 600 s left"
	# The emulated machine may take some seconds for each step; 2^64 has twenty digits.
	[ "$ahead" -ge 3600 ] && [ "$ahead" -lt 3700 ] && [ ${#back} = 20 ] && [ "$ahead_left" -gt 500 ] && [ "$back_left" -gt 500 ] || {
		echo 'the behaviour has changed'
		exit 1
	}
GUEST
