// Snatwatch watches the SNAT ports of one node: how many each destination holds of the node's budget, when they run
// out, and whether connections fail because no port is left. Without a subcommand it runs the agent.
//
// This package reads flags and hands over. main.go lists the subcommands, and each has a file of its name. Where
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
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"

	"github.com/snatwatch/snatwatch/internal/cli"
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

// commands registers all subcommands with app.
func commands(app *kingpin.Application) []command {
	return []command{
		runCommand(app),
		checkCommand(app),
		topCommand(app),
		planCommand(app),
		verifyCommand(app),
		recordCommand(app),
		backtestCommand(app),
		labCommand(app),
	}
}

// Exit statuses.
const (
	statusOK    = 0
	statusError = 1 // the command failed
	statusUsage = 2 // the command line has a mistake
)

// run parses args, runs the command that they name and returns the exit status.
func (e *env) run(ctx context.Context, args []string) int {
	app := kingpin.New("snatwatch", "Watches the SNAT ports of a node: how many each destination holds, when they run "+
		"out, and which flows fail for want of them. Without a command it runs the agent.")
	// Help and version end the parse early: kingpin calls this and goes on.
	ended := false
	app.Terminate(func(int) { ended = true })
	app.UsageWriter(e.stdout)
	app.ErrorWriter(e.stderr)
	app.Version(newBuild().text())
	app.HelpFlag.Short('h')
	logs := promslog.Config{Writer: e.stderr}
	promslogflag.AddFlags(app, &logs)
	all := commands(app)

	name, err := cli.Parse(app, completable(args))
	switch {
	case ended:
		return statusOK
	case err != nil:
		_, _ = fmt.Fprintf(e.stderr, "snatwatch: %v; see %s\n", err, cli.Help(app, args))
		return statusUsage
	}
	for _, c := range all {
		if c.clause.FullCommand() != name {
			continue
		}
		if err := c.run(ctx, e, promslog.New(&logs)); err != nil && !errors.Is(err, context.Canceled) {
			_, _ = fmt.Fprintf(e.stderr, "snatwatch: %v\n", err)
			return statusError
		}
	}
	return statusOK
}

// completable returns args without the word that a shell completes, which it filters by: kingpin would take the start
// of a command's name for an argument of the default command, and offer nothing. It needs the start of a flag.
func completable(args []string) []string {
	if last := len(args) - 1; last > 0 && args[0] == "--completion-bash" && !strings.HasPrefix(args[last], "-") {
		return args[:last]
	}
	return args
}
