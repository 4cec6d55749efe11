// Snatwatch watches the SNAT ports of one node: how many each destination holds
// against the node's budget, when they run out, and whether connections fail for
// want of them. Without a subcommand it is the agent.
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
