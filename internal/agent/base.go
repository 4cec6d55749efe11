package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/config"
)

// base is what every part of the agent reads. Nobody changes it.
type base struct {
	logger  *slog.Logger
	now     func() collector.Time
	notices *notices
	// outer is the network namespace in which flows leave the machine.
	outer *netns.Handle
	// started is the config at the start. The settings that fixedSettings names are read from it alone.
	started *config.Config
	// began is when the agent started.
	began collector.Time
}

// foreign returns the outer namespace, nil if it is the agent's own: entering a namespace takes CAP_SYS_ADMIN, and the
// agent need not enter its own.
func (b *base) foreign() *netns.Handle {
	if own, err := netns.Own(); err == nil && own == b.outer.Inode() {
		return nil
	}
	return b.outer
}

// finder finds the machine's network namespaces. A namespace that --netns names may have neither a process nor a mount,
// so with that flag the agent's own descriptors count too.
func (b *base) finder() netns.Finder {
	if b.started.Netns == "" {
		return netns.Finder{}
	}
	return netns.Finder{Mounts: []string{"/run/netns", "/run/docker/netns", "/proc/self/fd"}}
}

// every calls do once in each interval, until do fails or ctx is cancelled.
func every(ctx context.Context, interval time.Duration, do func() error) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		if err := do(); err != nil {
			return err
		}
	}
}
