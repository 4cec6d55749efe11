package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/snatwatch/snatwatch/internal/lab"
)

// labWatch is who watches the lab's router: run until its context ends, ready before the incident begins.
type labWatch struct {
	run   func(context.Context, *lab.Lab) error
	ready func(context.Context) error
}

// watch returns the lab's own agent, or with --agent the way to one that somebody starts in the router's namespace.
func (o *labOptions) watch(e *env, logger *slog.Logger) (labWatch, error) {
	if o.elsewhere == "" {
		return labWatch{run: func(ctx context.Context, l *lab.Lab) error { return watchLab(ctx, e, o, l, logger) }}, nil
	}
	to, err := netip.ParseAddrPort(o.elsewhere)
	if err != nil {
		return labWatch{}, fmt.Errorf("--agent=%s: want an address and a port: %w", o.elsewhere, err)
	}
	at, err := scrapeAddress(*o.agent.web.WebListenAddresses)
	if err != nil {
		return labWatch{}, err
	}
	return labWatch{
		run: func(ctx context.Context, l *lab.Lab) error {
			listener, err := new(net.ListenConfig).Listen(ctx, "tcp", at)
			if err != nil {
				return err
			}
			logger.Info("the lab's router waits for an agent", "agent", to, "nsenter", "nsenter --net="+l.Router().Path())
			return lab.Relay(ctx, listener, l.Router(), to)
		},
		ready: func(ctx context.Context) error { return awaitAgent(ctx, at) },
	}, nil
}

// watchLab runs the agent on the lab's router. The process keeps its capabilities: the lab needs them.
func watchLab(ctx context.Context, e *env, o *labOptions, l *lab.Lab, logger *slog.Logger) error {
	opts := o.agent
	opts.netns = flag[string]{value: l.Router().Path(), given: true}
	logger.Info("agent watches the lab's router", "nsenter", "nsenter --net="+opts.netns.value)
	return opts.run(ctx, e, logger)
}

// awaitAgent returns when an agent at that address says that it is ready, or when ctx ends.
func awaitAgent(ctx context.Context, address string) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	client := http.Client{Timeout: 10 * time.Second}
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/-/ready", nil)
		if err != nil {
			return err
		}
		if answer, err := client.Do(r); err == nil {
			if err := answer.Body.Close(); err != nil {
				return err
			}
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
