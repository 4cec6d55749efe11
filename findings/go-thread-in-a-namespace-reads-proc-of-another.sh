#!/usr/bin/env bash
# In Go, code that has entered a network namespace asks the kernel about that one and reads the files of another.
#
# Guess: after runtime.LockOSThread and setns (or netns.Set, netns.New) everything that this goroutine looks at is of the namespace
# that it entered, until it goes back.
# Seen: /proc/net is a link to /proc/self/net, and self is the process, whose first thread is where it always was. So netlink, sockets
# and the sysctl files are of the new namespace, and procfs.NetTCP, NetStat, NetDev or NetSockstat, and gopsutil's Connections, are of
# the old one. Of five listening sockets, all of them in the namespace that was left, netlink sees none and both libraries see five:
# a collector that visits each pod's namespace counts the host's connections once for each pod. Where the goroutine happens to run
# on the first thread they are right, so a short test may pass. /proc/thread-self/net is always right.
# Seen with github.com/prometheus/procfs v0.23.0, github.com/shirou/gopsutil/v4 v4.25.1, github.com/vishvananda/netns v0.0.5 and
# github.com/vishvananda/netlink v1.3.1.
#
# Linux, as root, with Go and the Go module proxy. Works in network namespaces of its own. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module visit

go 1.26.0

require (
	github.com/prometheus/procfs v0.23.0
	github.com/shirou/gopsutil/v4 v4.25.1
	github.com/vishvananda/netlink v1.3.1
	github.com/vishvananda/netns v0.0.5
)
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"net"
	"runtime"

	"github.com/prometheus/procfs"
	psnet "github.com/shirou/gopsutil/v4/net"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// look prints how many TCP sockets each way of looking finds.
func look(where string) {
	viaNetlink := len(must(netlink.SocketDiagTCP(unix.AF_INET)))
	viaProcfs := len(must(must(procfs.NewDefaultFS()).NetTCP()))
	viaThread := len(must(must(procfs.NewFS("/proc/thread-self")).NetTCP()))
	viaGopsutil := len(must(psnet.Connections("tcp4")))
	fmt.Printf("%s: netlink %d, procfs %d, gopsutil %d, procfs of /proc/thread-self %d\n", where, viaNetlink, viaProcfs, viaGopsutil, viaThread)
}

// The goroutine of main has the first thread of the process, and keeps it.
func init() { runtime.LockOSThread() }

func main() {
	for range 5 {
		must(net.Listen("tcp4", "127.0.0.1:0"))
	}
	look("in the namespace of the process     ")
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread ends with the goroutine, as it is not unlocked.
		runtime.LockOSThread()
		must(netns.New())
		look("in an empty one, on another thread  ")
	}()
	<-done
	must(netns.New())
	look("in an empty one, on the first thread")
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o visit .
go version -m visit | awk '$2 ~ /procfs|gopsutil|vishvananda/ { print $2, $3 }'
unshare --net bash -c 'ip link set lo up && ./visit' | tee seen
cat >expected <<'END'
in the namespace of the process     : netlink 5, procfs 5, gopsutil 5, procfs of /proc/thread-self 5
in an empty one, on another thread  : netlink 0, procfs 5, gopsutil 5, procfs of /proc/thread-self 0
in an empty one, on the first thread: netlink 0, procfs 0, gopsutil 0, procfs of /proc/thread-self 0
END
diff seen expected || { echo 'the behaviour has changed'; exit 1; }
