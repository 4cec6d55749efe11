#!/usr/bin/env bash
# A set of nft whose elements have all run out of time is listed as empty and takes no new one: it is full.
#
# Guess: an element with a timeout makes room when its time is over. gc-interval says how soon its memory is freed, so that
# a long one, on a busy gateway, costs memory and saves time.
# Seen: an element that is over counts against the set's size until the garbage collector has been there. With "size 2" and
# "gc-interval 5m" two elements of 5 s block the set for five minutes: rules that add to it do not match, and "nft add element" says
# "Too many open files in system", while "nft list set" shows no element. Without gc-interval the collector comes each second.
# What a rule does behind such an "add", to accept or to translate, is then done for no flow, and the set looks idle.
# Seen with Linux 6.18 and nftables 1.0.6 (Debian 12). Source: nft_rhash_update() and nft_rhash_gc() in
# net/netfilter/nft_set_hash.c.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
nft --version
echo "Linux $(uname -r)"

unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
nft -f - <<'END'
table ip t {
	set slow { type inet_service; flags dynamic,timeout; timeout 5s; gc-interval 5m; size 2; }
	set usual { type inet_service; flags dynamic,timeout; timeout 5s; size 2; }
	chain c {
		type filter hook output priority 0
		udp dport 1000-1999 add @slow { udp dport } counter
		udp dport 2000-2999 add @usual { udp dport } counter
	}
}
END
# How many packets the rules have let through so far, first the one with the slow collector.
through() { nft list chain ip t c | sed -n 's/.*counter packets \([0-9]*\).*/\1/p' | xargs; }
send() { for port; do echo x >"/dev/udp/127.0.0.1/$port"; done; }
listed() { nft list set ip t slow | grep -c elements || true; }

send 1001 1002 1003 2001 2002 2003
first=$(through)
# The elements' time is over, and the usual collector has come, which a busy machine may delay.
sleep 8
for _ in $(seq 60); do
	[ "$(nft add element ip t usual '{ 2009 }' 2>&1)" ] || break
	sleep 1
done
nft delete element ip t usual '{ 2009 }'
empty=$(listed)
send 1004 1005 2004 2005
second=$(through)
refused=$(nft add element ip t slow '{ 1009 }' 2>&1 | sed -n '1s/.*: //p' || true)
echo "of 3 packets, each with an element of its own, the rules of the two sets of size 2 let through: $first"
echo "8 s later, elements that are listed in the set with gc-interval 5m: $empty"
echo "of 2 packets more: $second in all; nft add element: $refused"
[ "$first" = '2 2' ] && [ "$empty" = 0 ] && [ "$second" = '2 4' ] && [ "$refused" = 'Too many open files in system' ] || {
	echo 'the behaviour has changed'
	exit 1
}
INSIDE
