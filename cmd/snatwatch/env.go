package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/internal/agent"
)

// env is everything that a command takes from its process, so that a test can run a command.
type env struct {
	stdout, stderr io.Writer
	// hangup delivers SIGHUP.
	hangup func() (signals <-chan os.Signal, stop func())
	// confine gives up the capabilities that the agent does not need.
	confine func() error
	// metadata asks the cloud what it knows of this machine.
	metadata cloud.Client
}

func newEnv() *env {
	return &env{
		stdout: os.Stdout, stderr: os.Stderr,
		hangup: func() (<-chan os.Signal, func()) {
			c := make(chan os.Signal, 1)
			signal.Notify(c, syscall.SIGHUP)
			return c, func() { signal.Stop(c) }
		},
		confine: agent.Confine,
	}
}

// command is a subcommand; run starts after the flags are parsed.
type command struct {
	clause *kingpin.CmdClause
	run    func(ctx context.Context, e *env, logger *slog.Logger) error
}

// commands registers all subcommands with app.
func commands(app *kingpin.Application) []command {
	return []command{
		runCommand(app),
		checkCommand(app),
		labCommand(app),
		backtestCommand(app),
		verifyCommand(app),
		planCommand(app),
		topCommand(app),
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
	app := kingpin.New("snatwatch", "Watches the SNAT ports of a node: how many each destination holds, when they run out, and which flows fail for want of them.")
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

	name, err := app.Parse(args)
	switch {
	case ended:
		return statusOK
	case err != nil:
		_, _ = fmt.Fprintf(e.stderr, "snatwatch: %v, try --help\n", err)
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
