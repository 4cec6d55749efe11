#!/usr/bin/env bash
# google/nftables v0.3.0: one rule with "ct original" or "ct reply" makes a whole chain unreadable.
#
# Guess: GetRules returns the rules of a chain, and for an expression that it does not know leaves a gap.
# Seen: it takes NFTA_CT_DIRECTION, one byte, for a number of four bytes, and returns an error in place of all rules
# of the chain, those before and behind included. firewalld's forward ports and Calico write such rules.
# Seen with github.com/google/nftables v0.3.0, nftables 1.0.6 and Linux 6.18 (Debian 12). Source: expr/ct.go of the module.
#
# Debian, as root, with Go. Everything stays in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in nft:nftables ip:iproute2; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

ns=hidden-chain-$$
work=$(mktemp -d)
trap 'ip netns del "$ns" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<-'END'
module finding
go 1.24
END
cat >main.go <<-'END'
package main

import (
	"fmt"

	"github.com/google/nftables"
)

func main() {
	conn, err := nftables.New()
	if err != nil {
		panic(err)
	}
	chains, err := conn.ListChains()
	if err != nil {
		panic(err)
	}
	for _, c := range chains {
		rules, err := conn.GetRules(c.Table, c)
		fmt.Printf("%s: %d rules, error %v\n", c.Name, len(rules), err)
	}
}
END
go get github.com/google/nftables@v0.3.0 2>/dev/null
go build -o read .
ip netns add "$ns"
ip netns exec "$ns" nft -f - <<-'END'
	table ip n {
		chain plain {
			ip saddr 10.0.0.0/8 accept
			ip daddr 10.0.0.0/8 accept
		}
		chain one_more {
			ip saddr 10.0.0.0/8 accept
			ct original ip saddr 10.7.0.0/16 accept
			ip daddr 10.0.0.0/8 accept
		}
	}
END
echo "Linux $(uname -r), $(nft --version), google/nftables $(go list -m -f '{{.Version}}' github.com/google/nftables)"
out=$(ip netns exec "$ns" ./read)
echo "$out"
grep -q '^plain: 2 rules, error <nil>$' <<<"$out" || { echo "a plain chain cannot be read" >&2; exit 1; }
grep -q '^one_more: 0 rules, error .' <<<"$out" || { echo "the chain can be read now" >&2; exit 1; }
