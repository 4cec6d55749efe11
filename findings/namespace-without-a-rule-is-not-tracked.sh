#!/usr/bin/env bash
# conntrack tracks nothing in a namespace where no rule asks for it, and its table stands still when the last such rule goes.
#
# Guess: where the module is loaded, nf_conntrack_count moves and "conntrack -E" runs, flows are tracked, by every namespace.
# Seen: the kernel hooks connection tracking into a namespace when the first rule there needs it (NAT, "ct", "-m conntrack"),
# and takes it out with the last one. Without such a rule the table is empty, whatever the traffic, and listening to events
# does not change that: a count of 0 is a node without flows or one that is not tracked. When the last rule goes, as with
# "nft flush ruleset", the entries stay and no packet touches them: new flows are missing, and of the old ones those that live on
# run out of their time as if they were idle. One rule that accepts new flows, anywhere in the namespace, is enough.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_ct_netns_get() in
# net/netfilter/nf_conntrack_proto.c.
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
nft --version
echo "Linux $(uname -r)"

unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
sysctl -qw net.netfilter.nf_conntrack_udp_timeout=600
conntrack -E >/dev/null 2>&1 &
listener=$!
trap 'kill $listener' EXIT
sleep 1
seen=
flows() {
	for i in 1 2 3; do echo x >"/dev/udp/127.0.0.1/9"; done
	count=$(conntrack -C)
	echo "$1, 3 flows more: $count entries"
	seen+="$count "
}
flows 'a listener, and no rule'
nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
flows 'a rule that needs conntrack'
nft flush ruleset
flows 'the rule is gone'
# A flow that sends each half second, under a rule and without one: the seconds that its entry has left.
nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
exec {flow}>/dev/udp/127.0.0.2/9
send() { (echo x >&"$flow") 2>/dev/null || true; }
send
nft flush ruleset
for _ in $(seq 10); do
	sleep 0.5
	send
done
left=$(conntrack -L -d 127.0.0.2 2>/dev/null | awk '{ print $3 }')
echo "a flow that sent ten packets since the rule is gone has $left of 600 s left"
[ "$seen" = '0 3 3 ' ] && [ "$left" -le 596 ] || {
	echo 'the behaviour has changed'
	exit 1
}
INSIDE
