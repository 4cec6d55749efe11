package agent

import (
	"context"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/record"
)

// recorded runs a source of the flows that leave this machine. If they are recorded, the record begins and ends with
// the source. A record that cannot be written ends, a notice says so, and the source goes on.
func (ss *sensors) recorded(onlyTranslated bool, sink collector.Sink, run func(collector.Sink) error) error {
	if ss.record == nil {
		return run(sink)
	}
	o := *ss.record
	o.OnlyTranslated, o.Logger = onlyTranslated, ss.logger
	fails := func(err error) {
		ss.notices.set("record", fmt.Sprintf("flows are not recorded: %v", err))
	}
	ss.notices.set("record", "")
	r, err := record.Open(&o, ss.outer)
	if err != nil {
		fails(err)
		return run(sink)
	}
	broken := false
	err = run(func(ctx context.Context, events []collector.Event) error {
		if !broken {
			if err := r.Take(ctx, events); err != nil {
				broken = true
				fails(err)
			}
		}
		return sink(ctx, events)
	})
	if _, closed := r.Close(ss.now()); closed != nil && !broken {
		fails(closed)
	}
	return err
}
