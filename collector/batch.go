package collector

import "context"

// Batch hands events to a Sink, many at once, out of one slice. Start makes it ready.
type Batch struct {
	sink   Sink
	events []Event
	most   int
	// refused is the Sink's error. The Sink gets nothing after it.
	refused error
}

// Start makes b hand at most so many events at once to sink. What it held before is gone.
func (b *Batch) Start(sink Sink, most int) {
	if cap(b.events) < most {
		b.events = make([]Event, 0, most)
	}
	b.sink, b.events, b.most, b.refused = sink, b.events[:0], most, nil
}

// Limit makes b hand at most so many events at once, no more than at the start.
func (b *Batch) Limit(most int) { b.most = min(most, cap(b.events)) }

// Refused returns the error with which the Sink refused events, nil if it took all.
func (b *Batch) Refused() error { return b.refused }

// Next returns room for one more event, which the caller overwrites: the last event that was there is still in it.
func (b *Batch) Next(ctx context.Context) (*Event, error) {
	if len(b.events) >= b.most {
		if err := b.Flush(ctx); err != nil {
			return nil, err
		}
	}
	b.events = b.events[:len(b.events)+1]
	return &b.events[len(b.events)-1], nil
}

// Mark adds an event about a whole network namespace, without a flow.
func (b *Batch) Mark(ctx context.Context, k Kind, at Time, netns uint64) error {
	e, err := b.Next(ctx)
	if err == nil {
		*e = Event{Kind: k, At: at, Netns: netns}
	}
	return err
}

// Flush hands over what there is. Its error is the Sink's.
func (b *Batch) Flush(ctx context.Context) error {
	if b.refused != nil || len(b.events) == 0 {
		return b.refused
	}
	b.refused = b.sink(ctx, b.events)
	b.events = b.events[:0]
	return b.refused
}
