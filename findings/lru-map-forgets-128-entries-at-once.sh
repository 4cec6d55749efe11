#!/usr/bin/env bash
# An LRU map of eBPF that is one entry too small forgets 128 of them.
#
# Guess: a map of type LRU_HASH with room for 65,536 flows drops the flow that was silent for the longest time when the
# 65,537th comes, and has 65,536 then.
# Seen: it makes room for a CPU's next 128 flows at once, so that 65,409 are left. Cilium's and other eBPF programs'
# tables of connections and of SNAT ports are such maps: each time that one is full 127 live flows more than necessary
# are forgotten, their ports with them, and the number of entries never stays at the limit. An alert that waits for a
# full map fires by chance.
# Seen with github.com/cilium/ebpf v0.22.0 and Linux 6.18. Source: LOCAL_FREE_TARGET in kernel/bpf/bpf_lru_list.c.
#
# Debian, as root, with Go and the Go module proxy. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module lru

go 1.26.0

require github.com/cilium/ebpf v0.22.0
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

const room = 65536

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// entries fills a map of that type, puts one key more, and returns how many keys it has before and after.
func entries(kind ebpf.MapType) (before, after int, err error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: kind, KeySize: 4, ValueSize: 4, MaxEntries: room})
	must(err)
	defer m.Close()
	count := func() (n int) {
		var key, value uint32
		keys := m.Iterate()
		for ; keys.Next(&key, &value); n++ {
		}
		must(keys.Err())
		return n
	}
	for key := range uint32(room) {
		must(m.Put(key, key))
	}
	before = count()
	err = m.Put(uint32(room), uint32(room))
	return before, count(), err
}

func main() {
	must(rlimit.RemoveMemlock())
	runtime.LockOSThread() // on one CPU
	var set, one unix.CPUSet
	must(unix.SchedGetaffinity(0, &set))
	for cpu := 0; one.Count() == 0; cpu++ {
		if set.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	must(unix.SchedSetaffinity(0, &one))
	before, after, err := entries(ebpf.Hash)
	fmt.Printf("hash of %d: full with %d, one more: %v, %d\n", room, before, err, after)
	lruBefore, lruAfter, lruErr := entries(ebpf.LRUHash)
	fmt.Printf("LRU hash of %d: full with %d, one more: %v, %d\n", room, lruBefore, lruErr, lruAfter)
	if before != room || after != room || err == nil || lruErr != nil || lruBefore != room || lruAfter != room-127 {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o lru .
go version -m lru | awk '/cilium/ { print $2, $3 }'
echo "Linux $(uname -r)"
./lru
