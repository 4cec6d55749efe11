package agent

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/internal/kube"
)

// watchNodes has the nodes of the cluster watched for as long as a budget counts them: a watch that was started
// goes on until the agent ends, since another config may come back to it.
func (s *setup) watchNodes(ctx context.Context, nodes *kube.Nodes) error {
	g, ctx := errgroup.WithContext(ctx)
	ticker := time.NewTicker(machineEvery)
	defer ticker.Stop()
	followed := map[string]bool{}
	for {
		s.changes.Lock()
		pools := s.config.Pools()
		s.changes.Unlock()
		for _, p := range pools {
			if p.Kubernetes && !followed[p.Selector] {
				followed[p.Selector] = true
				g.Go(func() error { return nodes.Follow(ctx, p.Selector) })
			}
		}
		select {
		case <-ctx.Done():
			return g.Wait()
		case <-ticker.C:
		}
	}
}
