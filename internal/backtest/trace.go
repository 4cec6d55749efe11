package backtest

import (
	"bufio"
	"encoding/csv"
	"io"
	"math"
	"strconv"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// tracer writes what the forecast said, one row per tick and port space: t (seconds, on the clock of
// the record), destination, protocol left out where all is TCP; held ports and the nominal budget; then
// p, mean and variance for each horizon.
type tracer struct {
	buffer *bufio.Writer
	csv    *csv.Writer
	record *record.Record
	fields []string
}

// newTracer begins a trace of r to w; nil without w.
func newTracer(w io.Writer, r *record.Record) (*tracer, error) {
	if w == nil {
		return nil, nil
	}
	t := &tracer{buffer: bufio.NewWriterSize(w, 1<<16), record: r}
	t.csv = csv.NewWriter(t.buffer)
	return t, t.csv.Write(TraceHeader())
}

// TraceHeader is the first line of a trace.
func TraceHeader() []string {
	h := []string{"t", "destination", "held", "budget"}
	for _, name := range horizonNames() {
		h = append(h, "p_"+name, "mean_"+name, "variance_"+name)
	}
	return append(h, "protocol")
}

// row writes what the ledger says of one port space. One without a forecast stays as it is.
func (t *tracer) row(now collector.Time, destination int32, ports int, s *detector.SpaceSnapshot) error {
	f := s.Forecast
	if f == nil {
		held := float64(s.Held)
		f = &detector.Forecast{Mean: [horizons]float64{held, held, held, held}}
	}
	t.fields = append(t.fields[:0],
		strconv.FormatFloat(math.Round((now-t.record.Zero()).Seconds()*1e6)/1e6, 'f', -1, 64),
		t.record.Destinations[destination],
		strconv.Itoa(s.Held),
		strconv.Itoa(ports))
	for h := range horizons {
		t.fields = append(t.fields, digits(f.Probability[h]), digits(f.Mean[h]), digits(f.Variance[h]))
	}
	t.fields = append(t.fields, t.record.Protocols[destination].String())
	return t.csv.Write(t.fields)
}

func digits(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

func (t *tracer) flush() error {
	t.csv.Flush()
	if err := t.csv.Error(); err != nil {
		return err
	}
	return t.buffer.Flush()
}
