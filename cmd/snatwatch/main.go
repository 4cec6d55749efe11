// Snatwatch watches the SNAT ports of one node: how many each destination holds of the node's budget, when they run
// out, and whether connections fail because no port is left. Without a subcommand it runs the agent.
//
// This package reads flags and hands over. env.go lists the subcommands, and each has a file of its name. Where
// things are:
//
//   - collector/conntrack, collector/sockdiag: kernel messages are parsed (parse.go in each).
//   - detector/budget: the models, and their tables of ports.
//   - detector/ledger: which flow holds which port, until its release.
//   - detector/forecast: hold times, arrivals, the probability of exhaustion.
//   - detector/metrics: the names of all metrics.
//   - internal/agent: the agent, its sources and its loop. internal/web: its page and API.
//   - rules, dashboards: alerts and boards, which cmd/snatgen writes to files.
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
