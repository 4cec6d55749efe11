package record

import (
	"errors"
	"io"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/flowlog"
)

// readFlowLog reads a flow log of a cloud, of nfdump or of conntrack. Rows of one flow are put together.
func readFlowLog(b *builder, in io.Reader) {
	// The ports do not matter: only flows are taken.
	unlimited, err := budget.Resolve(budget.Params{Name: "flows", Model: "static", Ports: 1 << 24})
	if err != nil {
		b.broken(0, err)
		return
	}
	b.clock, b.rec.Unix = true, true
	c := flowlog.NewCounter(unlimited)
	full := false
	c.OnEnd(func(f flowlog.Flow) {
		number := b.destinations.number(endpoint{f.Tuple.DestinationEndpoint(), f.Tuple.Protocol})
		if number >= MaxDestinations {
			full = true
			return
		}
		b.rec.Flows = append(b.rec.Flows, Flow{
			Start: collector.Time(f.Start), End: collector.Time(f.End), Protocol: f.Tuple.Protocol, Reason: f.Reason,
			Destination: number, Source: b.sources.number(endpoint{f.Tuple.Source.String(), 0}),
		})
	})
	result, err := c.Read(in)
	c.Close()
	if result != nil {
		b.rec.Read, b.rec.Bad, b.rec.Left = result.Rows, result.Bad, result.Skipped
		for _, f := range result.Faults {
			b.rec.Faults = append(b.rec.Faults, Fault{File: b.rec.Name, Text: f})
		}
		if result.Format.Instants {
			b.rec.Unended = result.Used
		}
	}
	switch {
	case err != nil:
		b.broken(0, err)
	case c.Moment():
		b.broken(0, errors.New("a list of one moment has no flows that begin and end"))
	case full:
		b.broken(0, errors.New("there are too many destinations"))
	}
}
