#!/usr/bin/env bash
# go-redis keeps the connections of a busy moment open for ever, whatever ConnMaxIdleTime and ConnMaxLifetime say.
#
# Guess: with ConnMaxIdleTime 2 s and ConnMaxLifetime 5 s a connection that nobody uses is closed after two seconds, and any after five:
# so 50 commands at once hold 50 source ports for some seconds.
# Seen: both limits are looked at only when a connection is taken out of the pool to be used, and the last one that was put back is
# taken first. While the program sends nothing, all 50 stay open; while it sends one command a second, those at the bottom are not
# reached. A NAT with an idle limit has forgotten them long before, and the next busy moment finds them dead. MaxIdleConns bounds
# how many there are. The background check that earlier majors had (IdleCheckFrequency) is gone since v9.
# Seen with github.com/redis/go-redis/v9 v9.23.0 and redis 7.0.15 of Debian 12.
#
# Debian, as root, with Go and the Go module proxy. Works in a network namespace of its own. Fails if the behaviour changes.
set -euo pipefail

missing=()
for pair in ip:iproute2 redis-server:redis-server; do
	command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module pool

go 1.26.0

require github.com/redis/go-redis/v9 v9.23.0
END
cat >main.go <<'END'
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// open returns how many connections to the server the kernel has.
func open() int {
	out, err := exec.Command("ss", "-Htn", "state", "established", "dst", "127.0.0.1:6379").Output()
	if err != nil {
		panic(err)
	}
	return strings.Count(string(out), "\n")
}

func main() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:6379", PoolSize: 50, ConnMaxIdleTime: 2 * time.Second, ConnMaxLifetime: 5 * time.Second,
	})
	for range 300 {
		if client.Ping(ctx).Err() == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	// Each of the 50 waits for an entry of an empty list, and so holds a connection for four seconds.
	var busy sync.WaitGroup
	for range 50 {
		busy.Go(func() { client.BLPop(ctx, 4*time.Second, "nothing") })
	}
	busy.Wait()
	first := open()
	fmt.Printf("after 50 commands at once: %d connections\n", first)
	time.Sleep(20 * time.Second)
	silent := open()
	fmt.Printf("after 20 s without a command: %d\n", silent)
	for range 20 {
		time.Sleep(time.Second)
		client.Ping(ctx)
	}
	quiet := open()
	fmt.Printf("after 20 s more, with a command each second: %d\n", quiet)
	if first < 45 || silent != first || quiet < first/2 {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o pool .
go version -m pool | awk '$2 ~ /redis\/go-redis/ { print $2, $3 }'
unshare --net --pid --fork --mount-proc --kill-child bash -c '
	ip link set lo up
	redis-server --port 6379 --save "" --dir . >/dev/null &
	./pool
'
