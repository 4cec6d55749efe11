#!/usr/bin/env bash
# gopsutil counts each conntrack entry once for each CPU.
#
# Guess: net.ConntrackStats(false), which sums the rows of the CPUs to one, returns in Entries how many entries the
# table has.
# Seen: the kernel repeats the size of the whole table in the row of every CPU, and gopsutil adds the rows up: on a
# machine of 64 CPUs 3,000 entries are 192,000, three quarters of the usual limit. Whoever divides it by the limit pages
# for a table that is full, and whoever sized an alert on a small machine has one that fires on a large one.
# Seen with github.com/shirou/gopsutil/v4 v4.26.10 and Linux 6.18. Source: net/net_linux.go of the module.
#
# Debian, as root, with Go and the Go module proxy. Uses loopback of a network namespace. Fails if the behaviour
# changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack; do
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
module count

go 1.26.0

require github.com/shirou/gopsutil/v4 v4.26.10
END
cat >main.go <<'END'
package main

import (
	"fmt"

	"github.com/shirou/gopsutil/v4/net"
)

func main() {
	sum, err := net.ConntrackStats(false)
	if err != nil {
		panic(err)
	}
	each, err := net.ConntrackStats(true)
	if err != nil {
		panic(err)
	}
	fmt.Println(sum[0].Entries, len(each))
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o count .
go version -m count | awk '/gopsutil/ { print $2, $3 }'
unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
for i in $(seq 30); do exec {open}>"/dev/udp/127.0.0.1/$((5000 + i))" && echo x >&"$open"; done
entries=$(conntrack -C)
read -r gopsutil cpus < <(./count)
echo "conntrack -C counts $entries entries, gopsutil $gopsutil, on $cpus CPUs"
[ "$entries" = 30 ] && [ "$gopsutil" = $((entries * cpus)) ] || { echo 'the behaviour has changed'; exit 1; }
[ "$cpus" -gt 1 ] || echo 'one CPU: nothing to see here'
INSIDE
