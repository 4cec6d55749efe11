package timeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"
)

// report prints the lead times.
func (r *recorder) report(w io.Writer) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nLead: from the page to the first call that fails for want of a port\n\n")
	fmt.Fprintf(&b, "%-24s %12s %12s\n", "scrape and evaluation", "lead", "all clear after relief")
	for _, i := range r.o.Intervals {
		fmt.Fprintf(&b, "%-24s %12s %12s\n", i, between(r.t.Fired[i], r.t.Failure), between(r.t.Relief, r.t.Cleared[i]))
	}
	fmt.Fprintf(&b, "%-24s %12s\n", "the agent's own forecast", between(r.t.Crossed, r.t.Failure))
	fmt.Fprintf(&b, "%-24s %12s\n\n", "page delivered", between(r.t.Paged, r.t.Failure))
	_, err := w.Write(b.Bytes())
	return err
}

func between(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%.0f s", to.Sub(from).Seconds())
}

// verdict returns what the incident should have shown and did not, nil if it showed everything.
func (r *recorder) verdict() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, first := &r.t, r.o.Intervals[0]
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	must(!t.Failure.IsZero(), "no call failed: the incident did not happen")
	must(!t.Crossed.IsZero() && t.Crossed.Before(t.Failure), "the forecast did not cross before the first failure")
	must(!t.Fired[first].IsZero() && t.Fired[first].Before(t.Failure),
		"%s did not fire before the first failure at a %s interval", predicted, first)
	must(!t.Paged.IsZero() && t.Paged.Before(t.Failure), "the page was not delivered before the first failure")
	must(!t.Exhausted.IsZero(), "%s did not fire", exhausted)
	must(!t.Inhibited.IsZero(), "%s was not inhibited while %s fired", predicted, exhausted)
	must(!t.Cleared[first].IsZero(), "%s did not clear after the second VIP was added", predicted)
	must(t.Burst.IsZero() || t.Fired[first].IsZero() || t.Fired[first].After(t.Burst),
		"%s fired before the burst", predicted)
	return errors.Join(errs...)
}
