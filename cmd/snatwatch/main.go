// Snatwatch watches the SNAT ports of one node: how many each destination holds
// against the node's budget, when they run out, and whether connections fail for
// want of them. Without a subcommand it is the agent.
//
// This package reads flags and nothing more: env.go lists the subcommands, and each has a file of its name. The agent itself
// is internal/agent, its page and API are internal/web.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends a process that does not heed the first
	status := newEnv().run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}
