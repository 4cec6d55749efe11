#!/usr/bin/env bash
# A rule of nft that counts each destination in a set and then translates stops translating when the set is full.
#
# Guess: in "add @seen { ip daddr counter } snat to ADDRESS" the set only counts; when it is full, new destinations go
# uncounted.
# Seen: a statement that cannot add its element ends the rule, as a match that does not hold would. Flows to the first
# two destinations of a set with "size 2" are translated, the flow to the third leaves with its private address. Nothing
# is logged, and the set, with its two counters, looks well. A set without "size" is full at 65,535. What counts belongs
# into a rule of its own.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nft_dynset_eval() in
# net/netfilter/nft_dynset.c.
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
ip address add 10.0.0.1/8 dev lo
ip address add 10.0.0.5/8 dev lo

# translated RULE loads the rule, sends to three destinations and prints for each whether its flow was translated.
translated() {
	nft -f - <<-END
		flush ruleset
		table ip t {
			set seen { type ipv4_addr; size 2; flags dynamic; }
			chain c {
				type nat hook postrouting priority srcnat
				$1
			}
		}
	END
	conntrack -F 2>/dev/null
	local server all=
	for server in 10.0.0.21 10.0.0.22 10.0.0.23; do
		exec 3<>"/dev/udp/$server/9"
		echo x >&3
		exec 3>&-
		case $(conntrack -L -d "$server" 2>/dev/null) in
		*dst=203.0.113.1*) all+=' yes' ;;
		*"$server"*) all+=' no' ;;
		*) all+=' dropped' ;;
		esac
	done
	echo "$(echo "$1" | paste -s -d ';' | tr -d '\t'): translated?$all"
}
one=$(translated 'add @seen { ip daddr counter } snat to 203.0.113.1')
two=$(translated $'add @seen { ip daddr counter }\n\t\t\t\tsnat to 203.0.113.1')
echo "$one"
echo "$two"
[[ $one == *'? yes yes no' && $two == *'? yes yes yes' ]] || { echo 'the behaviour has changed'; exit 1; }
INSIDE
