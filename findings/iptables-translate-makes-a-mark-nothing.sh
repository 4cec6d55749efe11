#!/usr/bin/env bash
# iptables-translate turns a rule that sets bits of the connection mark into one that does nothing.
#
# Guess: of a CONNMARK rule with a mask iptables-translate makes the nft rule that does the same, as it does for MARK, or a
# comment, where it knows none.
# Seen: "--set-xmark 0x10/0xff" sets the low byte to 0x10. The translation is "ct mark xor 0x10 and 0xffffff00", of which nft
# computes the right part first, which is 0: it loads "ct mark set ct mark". And "--save-mark" with a mask, which copies some
# bits, becomes a rule that overwrites all others. Policy routing, egress gateways and rules for SNAT choose by these
# marks, so that after a move to nft flows leave by another address, and no tool has complained.
# Seen with iptables 1.8.9, nftables 1.0.6 and conntrack 1.4.7 (Debian 12) on Linux 6.18. Source:
# extensions/libxt_CONNMARK.c of iptables.
#
# Debian, as root. All traffic stays in network namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack iptables-nft:iptables; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
iptables-nft --version
nft --version

# The rules: one that sets bits of the connection's mark, and one that copies some of the packet's. Both follow rules
# that set the whole of both marks, which translate well.
before=('-j CONNMARK --set-xmark 0x5500/0xffffffff' '-j MARK --set-xmark 0x33/0xffffffff')
# What a flow's mark is in the end, by a rule of iptables and by its translation.
by_iptables() {
	unshare --net bash -euc '
		ip link set lo up
		for rule; do iptables-nft -A OUTPUT $rule; done
		echo x >/dev/udp/127.0.0.1/9
		conntrack -L -p udp 2>/dev/null | grep -o "mark=[0-9]*"' - "$@"
}
by_translation() {
	unshare --net bash -euc '
		ip link set lo up
		nft "table ip filter { chain OUTPUT { type filter hook output priority 0; }; }"
		for rule; do iptables-translate -A OUTPUT $rule | sed "s/^nft .\(.*\).$/\1/" | nft -f -; done
		echo x >/dev/udp/127.0.0.1/9
		conntrack -L -p udp 2>/dev/null | grep -o "mark=[0-9]*"' - "$@"
}
seen=()
for rule in '-j CONNMARK --set-xmark 0x10/0xff' '-j CONNMARK --save-mark --mask 0xff' '-j CONNMARK --set-mark 0x77'; do
	a=$(by_iptables "${before[@]}" "$rule") b=$(by_translation "${before[@]}" "$rule")
	printf '%s\n  is translated to %s\n  a flow with mark 0x5500 then has: by iptables 0x%x, by the translation 0x%x\n' \
		"$rule" "$(iptables-translate -A OUTPUT $rule)" "${a#mark=}" "${b#mark=}"
	seen+=("$(printf '%x %x' "${a#mark=}" "${b#mark=}")")
done
[ "${seen[*]}" = '5510 5500 5533 33 77 77' ] || {
	echo 'the behaviour has changed'
	exit 1
}
