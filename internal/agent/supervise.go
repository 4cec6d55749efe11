package agent

import (
	"context"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// A source that stopped with an error is started again, each time after a wait twice as long. After a run of more than
// healthyAfter the wait begins at firstWait again.
const (
	firstWait    = time.Second
	longestWait  = 30 * time.Second
	healthyAfter = time.Minute
)

// source is one way to see flows, set up but not running.
type source struct {
	// subject names it in notices.
	subject string
	feed    feed
	run     func(context.Context, collector.Sink) error
	// hopeless reports whether err means that the source cannot run, however often it is started. If it is nil, no error
	// means that.
	hopeless func(error) bool
	// stats may be called while run does.
	stats func() sourceStats
}

// sourceStats is what a source reports about itself.
type sourceStats struct {
	shown []metrics.Source
	// cpuExceeded: it needs more than its budget to stay exact.
	cpuExceeded bool
	// causes are the causes of failed opens that it can see. stalled: it can see first packets that are sent again.
	causes  metrics.Causes
	stalled bool
	// others counts the flows of the outer namespace that are neither TCP nor UDP, as the last complete dump showed.
	others uint64
}

// supervise runs s, and starts it again when it stops with an error, until ctx is cancelled or s is hopeless.
func supervise(ctx context.Context, s source, sink collector.Sink, n *notices) error {
	wait := firstWait
	for {
		began := time.Now()
		healthy := time.AfterFunc(healthyAfter, func() { n.set(s.subject, "") })
		err := s.run(ctx, sink)
		healthy.Stop()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && s.hopeless != nil && s.hopeless(err) {
			return err
		}
		if time.Since(began) > healthyAfter {
			wait = firstWait
		}
		text := "ended"
		if err != nil {
			text = err.Error()
		}
		n.set(s.subject, s.subject+" broke and is started again: "+text)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait = min(2*wait, longestWait)
	}
}

// stats holds the function that returns a source's own numbers: each start of the source makes a new one.
type stats[T any] struct {
	mu  sync.Mutex
	get func() T
}

func (s *stats[T]) from(get func() T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.get = get
}

// read returns the zero value before the first start.
func (s *stats[T]) read() (v T) {
	s.mu.Lock()
	get := s.get
	s.mu.Unlock()
	if get != nil {
		v = get()
	}
	return v
}
