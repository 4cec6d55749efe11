package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/internal/confine"
)

// env is everything that a command takes from its process, so that a test can run a command.
type env struct {
	stdout, stderr io.Writer
	// hangup delivers SIGHUP.
	hangup func() (signals <-chan os.Signal, stop func())
	// confine gives up what the agent does not need that writes to those folders, as confine.Process does.
	confine func(writes []string) (kept []string, err error)
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
		confine: confine.Process,
	}
}

// command is a subcommand; run starts after the flags are parsed.
type command struct {
	clause *kingpin.CmdClause
	run    func(ctx context.Context, e *env, logger *slog.Logger) error
}
