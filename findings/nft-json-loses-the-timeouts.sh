#!/usr/bin/env bash
# A ruleset that goes out of nft as JSON and in again has lost the timeouts that it set for its flows.
#
# Guess: "nft -j list ruleset", read back by "nft -j -f", is the same ruleset, as its text is; where JSON cannot say
# something, nft says so.
# Seen: a "ct timeout" object, which sets how long the flows of a rule are kept, is written with its policy and read back
# without it, and nft exits 0. The rule still refers to the object, and its flows get the kernel's own times: here 30 s in
# place of 5, for DNS a sixfold number of ports in use. Whatever manages rules by JSON changes a gateway as it copies it.
# Seen with nftables 1.0.6 and conntrack 1.4.7 (Debian 12) on Linux 6.18. Source: src/parser_json.c of nftables.
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

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
nft -f - <<'END'
table ip t {
	ct timeout short { protocol udp; l3proto ip; policy = { unreplied : 5, replied : 9 }; }
	chain c { type filter hook output priority 0; ct timeout set "short"; }
}
END
# The seconds that a new flow has, less those that went by.
seconds() {
	echo x >"/dev/udp/127.0.0.1/$1"
	conntrack -L -p udp --orig-port-dst "$1" 2>/dev/null | awk '{ print $3 }'
}
first=$(seconds 1001)
nft list ruleset >text
nft -j list ruleset >json
written=$(grep -o '"policy": {"unreplied[^}]*}' json)
nft flush ruleset
nft -f text
by_text=$(seconds 1002)
nft flush ruleset
nft -j -f json
by_json=$(seconds 1003)
policy=$(nft list ruleset | grep policy | head -n 1 | xargs)
echo "a new flow has $first s left; after a round trip by text $by_text s, by JSON $by_json s"
echo "in the JSON: $written; what nft read of it: $policy"
[ "$first" -le 5 ] && [ "$by_text" -le 5 ] && [ "$by_json" -gt 20 ] && [ "$policy" = 'policy = { }' ] || {
	echo 'the behaviour has changed'
	exit 1
}
INSIDE
