#!/usr/bin/env bash
# conntrack -L takes -o timestamp without a word and prints no time.
#
# Guess: -o timestamp, which puts the time before each event of conntrack -E, does so for a list, or is refused there.
# Seen: conntrack -L -o timestamp prints the list exactly as without it and exits 0, though the kernel has the time at which each
# entry began. The option for a list is -o ktimestamp, and it prints that time as text of the machine's zone, which is not named,
# in whole seconds. So a list that was meant to be dated is not, and nobody is told.
# Seen with conntrack-tools 1.4.7 of Debian 12 on Linux 6.18.
#
# Needs Debian with apt, as root. Uses loopback of a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

PATH=$PATH:/usr/sbin
missing=()
for program in conntrack nft ip; do command -v "$program" >/dev/null || missing+=("$program"); done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends conntrack nftables iproute2 >/dev/null
fi
conntrack -V
uname -r

unshare --net bash -euo pipefail -c '
	ip link set lo up
	nft add table ip t
	nft add chain ip t out "{ type filter hook output priority 0; }"
	nft add rule ip t out ct state new counter accept
	sysctl -qw net.netfilter.nf_conntrack_timestamp=1
	exec 3>/dev/udp/127.0.0.1/9
	echo x >&3

	list() { conntrack -L "$@" 2>/dev/null | sed -E "s/ (17|udp) +[0-9]+ src/ \1 N src/; s/delta-time=[0-9]+/delta-time=N/"; }
	plain=$(list)
	dated=$(list -o timestamp)
	kernel=$(list -o ktimestamp)
	echo "-L:               $plain"
	echo "-L -o timestamp:  $dated"
	echo "-L -o ktimestamp: $kernel"
	if [ -z "$plain" ] || [ "$dated" != "$plain" ] || ! grep -Eq "\[start=[A-Z][a-z]{2} [A-Z][a-z]{2} .* [0-9]{4}\]" <<<"$kernel"; then
		echo "the behaviour has changed"
		exit 1
	fi
'
