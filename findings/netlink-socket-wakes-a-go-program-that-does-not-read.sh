#!/usr/bin/env bash
# A netlink socket of mdlayher/netlink wakes the program for each message, also while nobody reads it.
#
# Guess: a program that reads its events five times a second wakes up five times a second, and in between they wait in
# the socket's buffer at no cost.
# Seen: the package's socket is on the poller of Go's runtime, and a runtime that has nothing to do waits there. Each
# message ends that wait: 600 messages, and the process waits 600 times more. The sender, which for events of conntrack
# is the packet's own path, pays for waking it. A socket that the package does not know costs nothing before it is
# read. One of the package leaves the poller if its descriptor is duplicated and the connection closed.
# Seen with Go 1.26, mdlayher/netlink 1.11.2, Linux 6.18. Source: New of mdlayher/socket, which opens its descriptor as
# non-blocking by os.NewFile, and runtime/netpoll_epoll.go.
#
# Needs root, Go, the Go module proxy and iproute2. It works in a network namespace of its own. Fails if the behaviour
# changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init example >/dev/null 2>&1
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const addresses = 300

// switches adds and deletes an address again and again, which sends a message each time to whoever listens, and returns
// how often this process waited meanwhile. It has a timer of 200 ms, as a program that reads five times a second.
func switches() int64 {
	script := fmt.Sprintf("for i in $(seq %d); do ip address add 127.1.0.1/32 dev lo; ip address del 127.1.0.1/32 dev lo; done", addresses)
	cmd := exec.Command("sh", "-c", script)
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	waits := func() int64 {
		var u unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		return u.Nvcsw
	}
	before := waits()
	for {
		select {
		case err := <-ended:
			if err != nil {
				panic(err)
			}
			return waits() - before
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func main() {
	none := switches()

	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		panic(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (unix.RTNLGRP_IPV4_IFADDR - 1)}); err != nil {
		panic(err)
	}
	plain := switches()
	unix.Close(fd)

	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		panic(err)
	}
	if err := c.JoinGroup(unix.RTNLGRP_IPV4_IFADDR); err != nil {
		panic(err)
	}
	if err := c.SetReadBuffer(8 << 20); err != nil {
		panic(err)
	}
	polled := switches()
	c.Close()
	fmt.Printf("%d messages that nobody reads: switched %d times without a socket, %d with a plain one, %d with mdlayher/netlink\n",
		2*addresses, none, plain, polled)
	if polled-plain < addresses/2 {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
GO
go get github.com/mdlayher/netlink@v1.11.2 golang.org/x/sys@v0.50.0 >/dev/null 2>&1
go build -o listen .
go version
unshare -n sh -c 'ip link set lo up && ./listen'
