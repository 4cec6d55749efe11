package collector_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
)

// Events come to the Sink in their order, at most as many at once as it takes.
func TestBatch(t *testing.T) {
	t.Parallel()
	var sizes []int
	var seen []collector.Time
	sink := func(_ context.Context, events []collector.Event) error {
		sizes = append(sizes, len(events))
		for _, e := range events {
			seen = append(seen, e.At)
		}
		return nil
	}
	var b collector.Batch
	b.Start(sink, 4)
	add := func(n int) {
		t.Helper()
		for range n {
			if err := b.Mark(t.Context(), collector.Begin, collector.Time(len(seen)), 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(9)
	b.Limit(2)
	add(3)
	b.Limit(100) // no more than at the start
	add(6)
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := b.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{4, 4, 2, 4, 4}, sizes); diff != "" {
		t.Errorf("events at once (-want +got):\n%s", diff)
	}
	if len(seen) != 18 {
		t.Errorf("%d events, want 18", len(seen))
	}
}

// A Sink that has refused events gets no more until the batch starts again.
func TestBatchRefused(t *testing.T) {
	t.Parallel()
	full := errors.New("no room")
	calls := 0
	var b collector.Batch
	b.Start(func(context.Context, []collector.Event) error { calls++; return full }, 1)
	if err := b.Mark(t.Context(), collector.Begin, 1, 1); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := b.Mark(t.Context(), collector.End, 2, 1); !errors.Is(err, full) {
			// After the refusal there is room again, and the next hand-over fails at once.
			if err = b.Flush(t.Context()); !errors.Is(err, full) {
				t.Errorf("got %v, want the Sink's error", err)
			}
		}
	}
	if calls != 1 || !errors.Is(b.Refused(), full) {
		t.Errorf("%d calls, refused %v", calls, b.Refused())
	}
	b.Start(func(context.Context, []collector.Event) error { return nil }, 1)
	if b.Refused() != nil {
		t.Errorf("refused %v after a new start", b.Refused())
	}
}
