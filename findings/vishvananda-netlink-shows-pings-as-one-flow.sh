#!/usr/bin/env bash
# In vishvananda/netlink all pings from one address to another are the same flow, with ports 0.
#
# Guess: ConntrackTableList returns flows that tell apart what conntrack tells apart: of a ping the id, which is what
# NAT translates as it does a port.
# Seen: it reads addresses, protocol and ports, and nothing of ICMP. Three pings to one server, which conntrack lists
# with three ids, are three flows that are equal in protocol, addresses and ports. Kept in a map by these they are one,
# so that a count of SNAT ports for each destination has 1 where 3 ids are taken.
# Seen with github.com/vishvananda/netlink v1.3.1 and Linux 6.18. Source: parseIpTuple in conntrack_linux.go of the
# module.
#
# Debian, as root, with Go and the Go module proxy. Uses loopback of a network namespace. Fails if the behaviour
# changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack ping:iputils-ping; do
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
module flows

go 1.26.0

require github.com/vishvananda/netlink v1.3.1
END
cat >main.go <<'END'
package main

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		panic(err)
	}
	keys := map[string]int{}
	for _, f := range flows {
		t := f.Forward
		keys[fmt.Sprintf("protocol %d, %s:%d to %s:%d", t.Protocol, t.SrcIP, t.SrcPort, t.DstIP, t.DstPort)]++
	}
	for key, n := range keys {
		fmt.Println(n, "x", key)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o flows .
go version -m flows | awk '/vishvananda\/netlink/ { print $2, $3 }'
unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
nft 'table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }'
for _ in 1 2 3; do ping -c 1 127.0.0.1 >/dev/null; done
ids=$(conntrack -L -p icmp 2>/dev/null | grep -o ' id=[0-9]*' | sort -u)
flows=$(./flows)
echo "conntrack lists these:" $ids
echo "netlink: $flows"
[ "$(wc -l <<<"$ids")" = 3 ] && [ "$flows" = '3 x protocol 1, 127.0.0.1:0 to 127.0.0.1:0' ] || {
	echo 'the behaviour has changed'
	exit 1
}
INSIDE
