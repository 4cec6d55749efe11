#!/usr/bin/env bash
# nft lists a rule of iptables with two connection states as a rule with one, and iptables-translate writes that one.
#
# Guess: what "nft list ruleset" shows of a rule that iptables-nft loaded is the rule that runs, or a comment where it
# cannot be said in nft.
# Seen: of --ctstate SNAT,DNAT nft shows "ct status snat", of ESTABLISHED,DNAT "ct status dnat"; of "! --ctstate
# ESTABLISHED,DNAT" the "not" is gone as well. The kernel runs the rule as it was given, and iptables-nft -S shows it;
# but a ruleset that was saved by nft and is loaded again, or went through iptables-translate, drops what it let through
# and counts other flows. Nothing is said.
# Seen with iptables 1.8.9 and nftables 1.0.6 of Debian 12.
#
# Debian, as root. Everything stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in iptables-translate:iptables iptables-nft:iptables nft:nftables; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
iptables-nft --version
nft --version

unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
changed=
# shown WANTED OPTIONS prints a rule as iptables-nft, nft and iptables-translate show it. The last two must be WANTED.
shown() {
	local wanted=$1 listed translated
	shift
	iptables-nft -F OUTPUT
	iptables-nft -A OUTPUT -m conntrack "$@" -j DROP
	listed=$(nft list ruleset 2>/dev/null | sed -n 's/^\t\t\(ct .*\) counter .*/\1/p')
	translated=$(iptables-translate -A OUTPUT -m conntrack "$@" -j DROP)
	translated=$(sed -n 's/.* OUTPUT \(ct .*\) counter .*/\1/p' <<<"$translated")
	echo "$(iptables-nft -S OUTPUT | sed -n 's/^-A OUTPUT //p'): nft shows $listed, iptables-translate $translated"
	[ "$listed" = "$wanted" ] && [ "$translated" = "$wanted" ] || changed=yes
}
shown 'ct state related,established' --ctstate RELATED,ESTABLISHED
shown 'ct status snat' --ctstate SNAT,DNAT
shown 'ct status dnat' --ctstate ESTABLISHED,DNAT
shown 'ct status dnat' ! --ctstate ESTABLISHED,DNAT

# dropped sends the first packet of a flow that nothing translates, and prints how many the rule has dropped.
dropped() {
	echo x 2>/dev/null >/dev/udp/127.0.0.1/9 || true
	nft list ruleset 2>/dev/null | sed -n 's/.*counter packets \([0-9]*\).*drop$/\1/p'
}
rule=$(dropped)
saved=$(nft list ruleset 2>/dev/null)
nft flush ruleset
nft -f - <<<"${saved/packets 1 /packets 0 }"
again=$(dropped)
echo "of one new packet the rule drops $rule; saved and loaded by nft it drops $again"
[ "$rule $again" = '1 0' ] || changed=yes
[ -z "$changed" ] || { echo 'the behaviour has changed'; exit 1; }
INSIDE
