package main

import (
	"context"
	"log/slog"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/kube"
)

func checkCommand(app *kingpin.Application) command {
	c := app.Command("check", "Prints the budgets that a config gives on this machine, or what is wrong with the "+
		"config.")
	path := c.Flag("config", "Config file (YAML); default: the embedded one.").PlaceHolder("FILE").String()
	return command{c, func(ctx context.Context, e *env, _ *slog.Logger) error {
		return config.Check(ctx, e.stdout, *path, e.metadata, kube.NewNodes(kube.InCluster).Count)
	}}
}
