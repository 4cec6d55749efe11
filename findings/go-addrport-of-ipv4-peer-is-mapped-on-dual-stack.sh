#!/usr/bin/env bash
# In Go, an IPv4 peer of a server that listens on ":PORT" has two addresses: the one that is printed, and another in netip.
#
# Guess: the address of a TCP peer at 127.0.0.1, taken as RemoteAddr().(*net.TCPAddr).AddrPort(), equals
# netip.MustParseAddr("127.0.0.1"), is in 127.0.0.0/8, and finds what a map keeps under that key: RemoteAddr prints it so.
# Seen: ":PORT" listens on one IPv6 socket for both families, and AddrPort gives ::ffff:127.0.0.1, which is neither equal nor in
# the prefix, while RemoteAddr prints 127.0.0.1. Parsing what is printed, or Unmap, gives the address that was meant. A
# server that listens on 127.0.0.1 alone does not show it, so that a test over loopback passes.
# Seen with Go 1.26 on Linux.
#
# Needs Go; loopback only. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go version
go mod init example >/dev/null 2>&1
cat >main.go <<'END'
package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
)

func main() {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		panic(err)
	}
	go func() { _, _ = net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", l.Addr().(*net.TCPAddr).Port)) }()
	c, err := l.Accept()
	if err != nil {
		panic(err)
	}
	want := netip.MustParseAddr("127.0.0.1")
	peer := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	printed, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		panic(err)
	}
	in := netip.MustParsePrefix("127.0.0.0/8").Contains(peer)
	fmt.Printf("AddrPort: %v, equal to 127.0.0.1 %v, in 127.0.0.0/8 %v\n", peer, peer == want, in)
	fmt.Printf("printed and parsed: %v, equal %v; unmapped: equal %v\n", printed.Addr(), printed.Addr() == want, peer.Unmap() == want)
	if peer == want || in || printed.Addr() != want || peer.Unmap() != want {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
END
go run .
