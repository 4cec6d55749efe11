#!/usr/bin/env bash
# Conntrack entries that are saved by "conntrack -L -o save" and loaded by "conntrack -R" come back without their mark.
#
# Guess: -o save writes what "conntrack -R" needs to make the same entries again: to keep flows over a restart, or to move them
# to another gateway.
# Seen: addresses, ports, NAT, state, zone and status come back, and the mark, which -L shows, is in no line of the
# save: it is 0 afterwards. Rules that choose a route, an address for SNAT or a queue by "ct mark" then treat the rest of each
# flow as another one, and no error says so.
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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
ip address add 10.0.0.1/8 dev lo
nft -f - <<'END'
table ip t {
	chain zones { type filter hook output priority raw; ct zone set 7; }
	chain marks { type filter hook output priority 0; ct mark set 5; }
	chain out { type nat hook postrouting priority srcnat; ip protocol udp ip daddr 10.0.0.9 snat to 10.0.0.2:4000-4999; }
}
END
echo x >/dev/udp/10.0.0.9/9
entry() { conntrack -L -p udp --orig-port-dst 9 2>/dev/null | sed 's/^udp *17 *[0-9]* //; s/ use=.*//'; }
before=$(entry)
conntrack -L -p udp -o save >saved 2>/dev/null
conntrack -F 2>/dev/null
conntrack -R saved >/dev/null 2>&1
after=$(entry)
echo "before: $before"
echo "saved:  $(cat saved)"
echo "after:  $after"
[[ $before == *' mark=5 zone=7' ]] && [ "$after" = "${before/mark=5/mark=0}" ] || {
	echo 'the behaviour has changed'
	exit 1
}
INSIDE
