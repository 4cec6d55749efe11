#!/usr/bin/env bash
# client_golang says how many bytes the process sent, and means everything in its network namespace.
#
# Guess: process_network_transmit_bytes_total, "Number of bytes sent by the process over the network" (since 1.20),
# counts what this process sends, as process_cpu_seconds_total counts its own CPU time.
# Seen: it is OutOctets of /proc/PID/net/netstat, which is of the namespace: a program that sends nothing reports the
# megabyte that another one sends. Two programs of one host network report the same traffic twice, and their sum over a
# node with thirty of them is thirty times the truth. In a pod of one container it is right by chance.
# Seen with github.com/prometheus/client_golang v1.25.0 and Linux 6.18. Source:
# prometheus/process_collector_procfsenabled.go of the module.
#
# Debian, as root, with Go and the Go module proxy. Uses loopback of a network namespace. Fails if the behaviour
# changes.
set -euo pipefail

if ! command -v ip >/dev/null; then
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends iproute2 >/dev/null
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module idle

go 1.26.0

require github.com/prometheus/client_golang v1.25.0
END
cat >main.go <<'END'
// idle sends nothing. It prints its metrics of network traffic, once for each line that it reads.
package main

import (
	"bufio"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

func main() {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		families, err := r.Gather()
		if err != nil {
			panic(err)
		}
		for _, f := range families {
			if f.GetName() == "process_network_transmit_bytes_total" {
				fmt.Printf("%.0f %s\n", f.GetMetric()[0].GetCounter().GetValue(), f.GetHelp())
			}
		}
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o idle .
go version -m idle | awk '/client_golang/ { print $2, $3 }'
unshare --net bash -euo pipefail <<'INSIDE'
ip link set lo up
coproc ./idle
ask() { echo >&"${COPROC[1]}" && read -r bytes help <&"${COPROC[0]}"; }
ask
before=$bytes
block=$(head -c 1000 /dev/zero | tr '\0' x)
exec 3>/dev/udp/127.0.0.1/9
# Every second write fails with the answer to the one before it.
for _ in $(seq 2000); do echo "$block" >&3 || true; done 2>/dev/null
ask
echo "$help: $before at first, $bytes after another process sent a megabyte"
[ "$before" -lt 1000 ] && [ "$bytes" -gt 1000000 ] || { echo 'the behaviour has changed'; exit 1; }
INSIDE
