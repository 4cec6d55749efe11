#!/usr/bin/env bash
# A gRPC client whose keepalive is short enough for a NAT is thrown out by the server, and takes a new port each time.
#
# Guess: where a NAT forgets a connection after four minutes, "keepalive.ClientParameters{Time: 2 * time.Minute}" on the client, with
# PermitWithoutStream, keeps a silent stream alive.
# Seen: a server of grpc-go that nobody has configured takes more than two pings less than five minutes apart for abuse, and closes the
# connection with GOAWAY "too_many_pings", and the stream with it. The client opens another one, from another port, and pings half as
# often there. So no setting of the client alone gets a silent stream through a limit of four minutes: pings either come too seldom for
# the NAT or too often for the server. With an EnforcementPolicy on the server, which has to know of its clients' NAT, the stream stays.
# Seen with google.golang.org/grpc v1.85.0, with pings every ten seconds.
#
# Needs Go and the Go module proxy. Uses loopback. Fails if the behaviour changes.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >go.mod <<'END'
module silent

go 1.26.0

require google.golang.org/grpc v1.85.0
END
cat >main.go <<'END'
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
)

// stream opens a stream on which nothing comes after a first message, and returns what ended it within the limit, and how many
// connections the client opened by then and ten seconds later.
func stream(limit time.Duration, options ...grpc.ServerOption) (err error, connections int64) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(options...)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go func() { _ = server.Serve(listener) }()
	var opened atomic.Int64
	client, err := grpc.NewClient(listener.Addr().String(),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			opened.Add(1)
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	watch, err := grpc_health_v1.NewHealthClient(client).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		panic(err)
	}
	for err == nil {
		_, err = watch.Recv()
	}
	// What is asked next.
	check, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	if _, err := grpc_health_v1.NewHealthClient(client).Check(check, &grpc_health_v1.HealthCheckRequest{}); err != nil {
		panic(err)
	}
	return err, opened.Load()
}

func main() {
	begin := time.Now()
	var took time.Duration
	plainErr, plain := stream(5 * time.Minute)
	took = time.Since(begin).Round(time.Second)
	thrownOut := strings.Contains(plainErr.Error(), "too_many_pings")
	fmt.Printf("a server as it is: the stream ended after %v, by too_many_pings: %t; connections: %d\n", took, thrownOut, plain)
	policy := grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true})
	knownErr, known := stream(75*time.Second, policy)
	stayed := strings.Contains(knownErr.Error(), "DeadlineExceeded")
	fmt.Printf("a server that allows a ping every 5 s: the stream stayed for 75 s: %t; connections: %d\n", stayed, known)
	if !thrownOut || plain != 2 || took < 25*time.Second || !stayed || known != 1 {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
END
GOFLAGS=-mod=mod go mod tidy 2>/dev/null
go build -p 2 -o silent .
go version -m silent | awk '$2 == "google.golang.org/grpc" { print $2, $3 }'
./silent 2>/dev/null
