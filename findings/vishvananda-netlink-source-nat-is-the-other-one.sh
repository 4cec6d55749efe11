#!/usr/bin/env bash
# In vishvananda/netlink the filter ConntrackNatSrcIP finds what conntrack finds by --dst-nat, and not the source-translated flows.
#
# Guess: AddIP(ConntrackNatSrcIP, VIP) chooses the flows to which source NAT gave the address VIP, as "conntrack --src-nat VIP" does:
# the library calls it "-src-nat ip Source NAT ip". So a NAT that moves to another VIP deletes the old one's flows by it.
# Seen: it compares the source of the replies, which is the server, also a server behind destination NAT. The flows of a VIP have it as the
# destination of their replies, and ConntrackNatDstIP finds them. A delete by ConntrackNatSrcIP takes none of the flows of the VIP, says so
# by a 0 that looks like "there were none", and takes the flows that are forwarded to a server of that address. The names that
# replace these two, ConntrackReplySrcIP and ConntrackReplyDstIP, say what is compared.
# Seen with github.com/vishvananda/netlink v1.3.1 and conntrack 1.4.7 of Debian 12. Source: MatchConntrackFlow in conntrack_linux.go.
#
# Debian, as root, with Go. Works in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 nft:nftables conntrack:conntrack python3:python3; do
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
module forget

go 1.26.0

require github.com/vishvananda/netlink v1.3.1
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"net"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func main() {
	names := map[string]netlink.ConntrackFilterType{"ConntrackNatSrcIP": netlink.ConntrackNatSrcIP, "ConntrackNatDstIP": netlink.ConntrackNatDstIP}
	filter := &netlink.ConntrackFilter{}
	if err := filter.AddIP(names[os.Args[1]], net.ParseIP(os.Args[2])); err != nil {
		panic(err)
	}
	flows, err := netlink.ConntrackTableList(netlink.ConntrackTable, unix.AF_INET)
	if err != nil {
		panic(err)
	}
	for _, f := range flows {
		if filter.MatchConntrackFlow(f) {
			fmt.Println(f.Forward.DstPort)
		}
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o find .
go version -m find | awk '/vishvananda\/netlink/ { print $2, $3 }'
unshare --net bash -euo pipefail <<'INSIDE' | tee seen
ip link set lo up
# Flows to port 5000 leave from 127.0.0.9 by source NAT; flows to port 5001 go to 127.0.0.8 by destination NAT.
nft 'table ip t {
	chain source { type nat hook postrouting priority 100; oif lo udp dport 5000 snat to 127.0.0.9; }
	chain destination { type nat hook output priority -100; oif lo udp dport 5001 dnat to 127.0.0.8; }
}'
python3 -c '
import socket
for port in 5000, 5001:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 6000))
        s.sendto(b"x", ("127.0.0.1", port))
'
ports() { { grep -o 'dport=500[01]' || true; } | cut -d= -f2 | xargs; }
for address in 127.0.0.9 127.0.0.8; do
	for side in src dst; do
		name=ConntrackNat${side^}IP
		cli=$(conntrack -L --$side-nat $address 2>/dev/null | ports)
		library=$(./find "$name" $address | xargs)
		echo "$address: conntrack --$side-nat finds port ${cli:-none}, $name finds port ${library:-none}"
	done
done
INSIDE
cat >expected <<'END'
127.0.0.9: conntrack --src-nat finds port 5000, ConntrackNatSrcIP finds port none
127.0.0.9: conntrack --dst-nat finds port none, ConntrackNatDstIP finds port 5000
127.0.0.8: conntrack --src-nat finds port none, ConntrackNatSrcIP finds port 5001
127.0.0.8: conntrack --dst-nat finds port 5001, ConntrackNatDstIP finds port none
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
