#!/usr/bin/env bash
# google/nftables v0.3.0 reads "oifname eth0 rt ipsec missing masquerade" as a rule that compares the interface with 0.
#
# Guess: GetRules returns all parts of a rule, or an error where one is unknown; a part that is left out makes the rule read wider.
# Seen: a rule is a list of steps: one loads a value into a register, the next compares the register. Steps that the library
# does not know (rt, xfrm, which nft writes as "ipsec", and others) are left out without an error, and their comparison stays.
# It then seems to compare what was loaded before: the name of the interface with one byte of 0. So the usual exception of IPsec
# from masquerade reads as a rule that matches nothing, and "rt classid 5" alone as a comparison of a register that nothing set.
# Seen with github.com/google/nftables v0.3.0, nftables 1.0.6 (Debian 12) and Linux 6.18. Source: expr/expr.go of the module.
#
# Debian, as root, with Go and the Go module proxy. Works in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module rules

go 1.26.0

require github.com/google/nftables v0.3.0
END
cat >main.go <<'END'
package main

import (
	"bytes"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

func main() {
	conn, err := nftables.New()
	if err != nil {
		panic(err)
	}
	table := &nftables.Table{Name: "t", Family: nftables.TableFamilyIPv4}
	rules, err := conn.GetRules(table, &nftables.Chain{Name: "c", Table: table})
	if err != nil {
		panic(err)
	}
	for _, rule := range rules {
		for _, e := range rule.Exprs {
			switch e := e.(type) {
			case *expr.Meta:
				fmt.Printf("load interface into register %d; ", e.Register)
			case *expr.Cmp:
				fmt.Printf("compare register %d with %q; ", e.Register, bytes.TrimRight(e.Data, "\x00"))
			default:
				fmt.Printf("%T; ", e)
			}
		}
		fmt.Println()
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o rules .
go version -m rules | awk '/google\/nftables/ { print $2, $3 }'
nft --version
unshare --net bash -euo pipefail <<'INSIDE'
nft -f - <<'END'
table ip t {
	chain c {
		type nat hook postrouting priority srcnat
		oifname "eth0" masquerade
		oifname "eth0" rt ipsec missing masquerade
		rt classid 5 masquerade
	}
}
END
nft list chain ip t c | grep masquerade
./rules | tee seen
INSIDE
cat >expected <<'END'
load interface into register 1; compare register 1 with "eth0"; *expr.Masq; 
load interface into register 1; compare register 1 with "eth0"; compare register 1 with ""; *expr.Masq; 
compare register 1 with "\x05"; *expr.Masq; 
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
