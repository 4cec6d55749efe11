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
	ctx, stop := signalled()
	status := newEnv().run(ctx, os.Args[1:])
	stop()
	os.Exit(status)
}

// signalled returns a context that the first SIGINT or SIGTERM cancels. A second SIGINT ends a process that
// does not heed the first. A second SIGTERM does nothing: supervisors repeat it while the state is being written.
func signalled() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) })
	return ctx, stop
}
