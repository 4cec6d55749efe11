#!/usr/bin/env bash
# Of two nat chains with the same hook and priority, the kernel runs the one that was made last first.
#
# Guess: "nft list ruleset" shows chains in the order in which they run, so that of two chains of priority 100 the
# upper one translates and the lower one sees what is left.
# Seen: the new chain is put before all that have the same priority. The lower one translates; the upper one, made
# before, never sees the flow. nft(8) leaves the order of equal priorities open.
# Seen with Linux 6.18, nftables 1.0.6 and conntrack 1.4.7 (Debian 12). Source: nf_hook_entries_grow() in
# net/netfilter/core.c of the kernel.
#
# Debian, as root. All traffic stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2 conntrack:conntrack; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
echo "Linux $(uname -r), $(nft --version), $(conntrack --version)"

ns=equal-priority-$$
trap 'ip netns del "$ns"' EXIT
ip netns add "$ns"
ip -n "$ns" link set lo up

# translated FIRST SECOND: makes two chains, in this order, and prints the address that a flow leaves with.
translated() {
	ip netns exec "$ns" nft -f - <<-END
	flush ruleset
	table ip upper {
		chain post {
			type nat hook postrouting priority $1
			snat to 127.0.0.11
		}
	}
	table ip lower {
		chain post {
			type nat hook postrouting priority $2
			snat to 127.0.0.12
		}
	}
	END
	ip netns exec "$ns" conntrack -F >/dev/null 2>&1
	ip netns exec "$ns" bash -c 'exec 3<>/dev/udp/127.0.0.1/9; echo x >&3' 2>/dev/null
	ip netns exec "$ns" conntrack -L 2>/dev/null | sed -n 's/.*src=127.0.0.1 dst=\(127.0.0.1[12]\) .*/\1/p'
}

apart=$(translated 99 100)
equal=$(translated 100 100)
echo "upper of priority 99, lower of 100: a flow leaves as $apart"
echo "both of priority 100: a flow leaves as $equal"
[ "$apart" = 127.0.0.11 ] || { echo "the lower number does not run first" >&2; exit 1; }
[ "$equal" = 127.0.0.12 ] || { echo "the chain made last does not run first any more" >&2; exit 1; }
