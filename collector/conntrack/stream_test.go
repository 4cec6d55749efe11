package conntrack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// stream runs a Source and keeps what it emits.
type stream struct {
	t      testing.TB
	src    *Source
	now    func() collector.Time
	pause  atomic.Int64 // the longest time in ns between two looks of the source at its clock
	mu     sync.Mutex
	record record
	cancel context.CancelFunc
	done   chan error
}

// run runs a source. Unless cfg says what it may take, that is a core: a source that takes more than it may dumps once a
// minute, and a slow machine forgets short flows sooner.
func run(t testing.TB, cfg Config) *stream {
	t.Helper()
	cfg.CPUBudget = cmp.Or(cfg.CPUBudget, 1)
	start := time.Now()
	s := &stream{t: t, now: func() collector.Time { return collector.Time(start.UnixNano()).Add(time.Since(start)) }, done: make(chan error, 1)}
	var looked atomic.Int64
	cfg.Clock = func() collector.Time {
		now := s.now()
		if last := looked.Swap(int64(now)); last != 0 {
			s.pause.Store(max(s.pause.Load(), int64(now)-last))
		}
		return now
	}
	var err error
	if s.src, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.cancel = cancel
	go func() {
		s.done <- s.src.Run(ctx, func(ctx context.Context, events []collector.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.record.sink(ctx, events)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-s.done; !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	})
	s.await("a first dump", func(r *record) bool { return r.kinds()[collector.End] > 0 })
	return s
}

// await waits until ok of what was emitted.
func (s *stream) await(what string, ok func(*record) bool) {
	s.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		s.mu.Lock()
		done := ok(&s.record)
		s.mu.Unlock()
		if done {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	stacks := make([]byte, 64<<10)
	stacks = stacks[:runtime.Stack(stacks, true)]
	s.t.Fatalf("waited in vain for %s; stats %+v; paused for up to %v; goroutines:\n%s",
		what, s.src.Stats(), time.Duration(s.pause.Load()), stacks)
}

// last waits for the last event of a kind about the flow from src.
func (s *stream) last(k collector.Kind, src netip.AddrPort, is func(*collector.Flow) bool) collector.Flow {
	s.t.Helper()
	var f collector.Flow
	s.await(fmt.Sprintf("%v of %v", k, src), func(r *record) bool {
		for _, e := range r.events {
			if e.Kind == k && e.Flow.Source == src && (is == nil || is(&e.Flow)) {
				f = e.Flow
				return true
			}
		}
		return false
	})
	return f
}

// span is a time in which something happened, as the test knows it.
type span struct{ from, to collector.Time }

func (s *stream) during(f func()) span {
	from := s.now()
	f()
	return span{from, s.now()}
}

// holds fails unless i may be the moment of sp, and is no wider than a most. Where the machine let the source wait, i
// may be wider: a source looks at its clock before and after each read, so an event comes within three pauses.
func (s *stream) holds(t *testing.T, what string, i collector.Interval, sp span, most time.Duration) {
	t.Helper()
	if most > 0 {
		most += 3 * time.Duration(s.pause.Load())
	}
	if i.IsZero() || i.To < sp.from.Add(-tolerance) || i.From > sp.to.Add(tolerance) {
		t.Errorf("%s: (%d ms, %d ms] after it began; it took %d ms", what,
			i.From.Sub(sp.from).Milliseconds(), i.To.Sub(sp.from).Milliseconds(), sp.to.Sub(sp.from).Milliseconds())
	}
	if most > 0 && i.To.Sub(i.From) > most {
		t.Errorf("%s: known to %v only, want %v", what, i.To.Sub(i.From), most)
	}
}
