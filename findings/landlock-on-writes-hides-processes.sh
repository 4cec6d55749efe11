#!/usr/bin/env bash
# Linux: a Landlock rule that restricts writing files takes away looking at other processes.
#
# Guess: a ruleset that handles LANDLOCK_ACCESS_FS_WRITE_FILE alone restricts opening files for writing alone; a root
# process with CAP_SYS_PTRACE still sees which namespaces and open files other processes have.
# Seen: it can still read every file, but for each process outside its own sandbox /proc/PID/ns/*, /proc/PID/exe and
# the links in /proc/PID/fd are refused: EACCES. No rule allows them, and no capability does. A node agent that tells
# which process or pod a socket is of cannot use Landlock to give up writing; a seccomp filter or another user can.
# Seen with github.com/landlock-lsm/go-landlock v0.11.2, Landlock ABI 7, Linux 6.18.
#
# Debian, as root, with Go, on a kernel with Landlock. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
sleep 600 &
other=$!
trap 'kill "$other" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<-'END'
module finding
go 1.24
END
cat >main.go <<-'END'
package main

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/landlock-lsm/go-landlock/landlock/syscall"
)

func main() {
	abi, err := syscall.LandlockGetABIVersion()
	if err != nil {
		panic(err)
	}
	fmt.Println("Landlock ABI:", abi)
	look := func(when string) {
		for _, name := range []string{"ns/net", "exe", "fd/0"} {
			_, err := os.Readlink("/proc/" + os.Args[1] + "/" + name)
			fmt.Printf("%s: %s seen: %v\n", when, name, err == nil)
		}
		_, err := os.ReadFile("/etc/hostname")
		_, status := os.ReadFile("/proc/" + os.Args[1] + "/status")
		fmt.Printf("%s: files read: %v\n", when, err == nil && status == nil)
		f, err := os.OpenFile("file", os.O_RDWR, 0)
		if err == nil {
			f.Close()
		}
		fmt.Printf("%s: a file opened to write: %v\n", when, err == nil)
	}
	if err := os.WriteFile("file", nil, 0o600); err != nil {
		panic(err)
	}
	look("before")
	config := landlock.MustConfig(landlock.AccessFSSet(syscall.AccessFSWriteFile))
	if err := config.RestrictPaths(); err != nil {
		panic(err)
	}
	look("after")
}
END
go get github.com/landlock-lsm/go-landlock/landlock@v0.11.2 2>/dev/null
go build -o look .
uname -r
grep CapEff /proc/self/status
./look "$other" | tee out
want='before: ns/net seen: true
before: exe seen: true
before: fd/0 seen: true
before: files read: true
before: a file opened to write: true
after: ns/net seen: false
after: exe seen: false
after: fd/0 seen: false
after: files read: true
after: a file opened to write: false'
if [ "$(tail -n +2 out)" = "$want" ]; then
	echo "as found: a sandbox that restricts writing hides other processes"
else
	echo "the behaviour has changed"
	exit 1
fi
