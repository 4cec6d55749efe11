package record

import (
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"net"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Record is flows that were recorded somewhere.
type Record struct {
	Name string
	// Flows in order of Start.
	Flows []Flow
	// Destinations and Protocols are by number: a destination with both protocols has two.
	Destinations []string
	Protocols    []collector.Protocol
	Sources      []string
	// VIPs are the addresses through which flows left, where the record tells; VIP number 1 is the first.
	VIPs []string
	// Unix: times were given since 1970; else time 0 of the record is at Epoch.
	Unix bool

	// Read counts records, Bad those that could not be used; Broken says that the file ends
	// early, so that nobody knows how many are missing.
	Read, Bad int
	Broken    bool
	// Faults describes the first bad ones.
	Faults []Fault
	// Other counts records of protocols that hold no ports (ICMP), Unended those without a
	// duration, which are taken as ended at once.
	Other, Unended int
	// Left counts rows of a flow log that hold no port, by why.
	Left map[string]int
	// Untranslated counts those that Zeek says came from outside or stayed inside.
	Untranslated int
}

// Fault is one thing wrong with a file.
type Fault struct {
	File string
	// Line is 0 where the whole file is meant. Column is as the file names it.
	Line   int
	Column string
	Text   string
}

func (f Fault) String() string {
	s := f.File
	if f.Line > 0 {
		s += fmt.Sprintf(" line %d", f.Line)
	}
	if f.Column != "" {
		s += fmt.Sprintf(" column %s", f.Column)
	}
	return s + ": " + f.Text
}

// maxFaults is how many faults of a record are kept; all are counted.
const maxFaults = 20

// maxBad is the share of bad records that a backtest lives with.
const maxBad = 0.01

// Unusable says whether too much of the record was bad.
func (r *Record) Unusable() bool {
	return r.Broken || float64(r.Bad) > maxBad*float64(r.Read)
}

// Zero is where time 0 of the record is.
func (r *Record) Zero() collector.Time {
	if r.Unix {
		return 0
	}
	return Epoch
}

// Source returns the record as a replay reads it: ticks at whole multiples of tick on the
// record's own clock, until the last flow has ended.
func (r *Record) Source(tick time.Duration, keep func(*Flow) bool) (*Source, collector.Time) {
	if len(r.Flows) == 0 {
		return &Source{Flows: func(func(Flow) bool) {}}, 0
	}
	first, lastStart, lastEnd := r.Flows[0].Start, collector.Time(0), collector.Time(0)
	for i := range r.Flows {
		lastStart = max(lastStart, r.Flows[i].Start)
		lastEnd = max(lastEnd, r.Flows[i].End)
	}
	from := first - (first-r.Zero())%collector.Time(tick)
	flows := iter.Seq[Flow](func(yield func(Flow) bool) {
		for i := range r.Flows {
			if keep(&r.Flows[i]) && !yield(r.Flows[i]) {
				return
			}
		}
	})
	return &Source{Flows: flows, From: from, To: lastEnd}, lastStart
}

// Tell says what is wrong with a record.
func (r *Record) Tell(w io.Writer) {
	for _, f := range r.Faults {
		_, _ = fmt.Fprintln(w, f)
	}
	if r.Bad > 0 {
		_, _ = fmt.Fprintf(w, "%s: %d of %d records are bad\n", r.Name, r.Bad, r.Read)
	}
	if r.Unended > 0 {
		_, _ = fmt.Fprintf(w, "%s: %d records have no duration and are taken as ended at once\n", r.Name, r.Unended)
	}
	if r.Other > 0 {
		_, _ = fmt.Fprintf(w, "%s: %d records are of protocols that hold no ports\n", r.Name, r.Other)
	}
	for _, why := range slices.Sorted(maps.Keys(r.Left)) {
		_, _ = fmt.Fprintf(w, "%s: %d rows hold no port: %s\n", r.Name, r.Left[why], why)
	}
	if r.Untranslated > 0 {
		_, _ = fmt.Fprintf(w, "%s: %d records come from outside or stay inside (local_orig, local_resp), and hold no port\n",
			r.Name, r.Untranslated)
	}
}

// Only keeps the flows of one source, so of one node.
func (r *Record) Only(source string) error {
	n := slices.Index(r.Sources, source)
	if n < 0 {
		return fmt.Errorf("source %q is not in the record", source)
	}
	r.Flows = slices.DeleteFunc(r.Flows, func(f Flow) bool { return int(f.Source) != n })
	return nil
}

// join puts records together that are on one clock.
func join(rs []*Record) *Record {
	if len(rs) == 1 {
		return rs[0]
	}
	all := &Record{Name: fmt.Sprintf("%d files", len(rs)), Unix: rs[0].Unix}
	names, sources, vips := newInterner(), newInterner(), newInterner()
	for _, r := range rs {
		for _, f := range r.Flows {
			if f.VIP > 0 {
				f.VIP = vips.vip(r.VIPs[f.VIP-1])
			}
			f.Destination = names.number(endpoint{r.Destinations[f.Destination], f.Protocol})
			if len(r.Sources) > 0 {
				f.Source = sources.number(endpoint{r.Sources[f.Source], 0})
			}
			all.Flows = append(all.Flows, f)
		}
		all.Read += r.Read
		all.Bad += r.Bad
		all.Broken = all.Broken || r.Broken
		all.Faults = append(all.Faults, r.Faults...)
		all.Other += r.Other
		for why, n := range r.Left {
			if all.Left == nil {
				all.Left = map[string]int{}
			}
			all.Left[why] += n
		}
		all.Unended += r.Unended
		all.Untranslated += r.Untranslated
	}
	all.Faults = all.Faults[:min(maxFaults, len(all.Faults))]
	all.name(names, sources, vips)
	slices.SortStableFunc(all.Flows, ByStart)
	return all
}

func (r *Record) name(destinations, sources, vips *interner) {
	for _, e := range destinations.list {
		r.Destinations = append(r.Destinations, e.name)
		r.Protocols = append(r.Protocols, e.protocol)
	}
	for _, e := range sources.list {
		r.Sources = append(r.Sources, e.name)
	}
	for _, e := range vips.list {
		r.VIPs = append(r.VIPs, e.name)
	}
}

// Merged returns the record with those destinations put together that a port does not tell apart:
// all ports of an address, or everything. What a port must be unique against is asked by protocol.
func (r *Record) Merged(unique func(collector.Protocol) budget.Uniqueness) *Record {
	m := *r
	m.Flows = slices.Clone(r.Flows)
	names := newInterner()
	for i := range m.Flows {
		f := &m.Flows[i]
		name := r.Destinations[f.Destination]
		switch unique(f.Protocol) {
		case budget.PerAddress:
			host, _, err := net.SplitHostPort(name)
			if err != nil {
				host = name // without a port
			}
			name = net.JoinHostPort(host, "*")
		case budget.PerNothing:
			name = "*"
		}
		f.Destination = names.number(endpoint{name, f.Protocol})
	}
	m.Destinations, m.Protocols = nil, nil
	m.name(names, newInterner(), newInterner())
	return &m
}

// MaxDestinations is how many destinations a record may have: a replay stands an address in for each.
const MaxDestinations = math.MaxUint32 >> 8

type endpoint struct {
	name     string
	protocol collector.Protocol
}

// interner numbers endpoints in the order they come.
type interner struct {
	numbers map[endpoint]int32
	list    []endpoint
}

func newInterner() *interner { return &interner{numbers: map[endpoint]int32{}} }

func (n *interner) number(e endpoint) int32 {
	i, ok := n.numbers[e]
	if !ok {
		i = int32(len(n.list))
		n.numbers[e] = i
		n.list = append(n.list, e)
	}
	return i
}

// vip numbers a VIP from 1 on; one too many has 0, as if it were not known.
func (n *interner) vip(name string) uint16 {
	if number := n.number(endpoint{name, 0}) + 1; number <= math.MaxUint16 {
		return uint16(number)
	}
	return 0
}
