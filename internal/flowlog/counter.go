package flowlog

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Counter counts the ports that the flows of a log held in each port space, under a budget's terms. Rows
// may be as late as a log's intervals make them.
type Counter struct {
	budget *budget.Budget
	shared bool
	gap    int64

	batch  batch
	flows  *flowTable
	ends   *endTable // of flows whose late rows may still come
	spaces []*Space
	number map[spaceKey]int32 // of spaces
	recent [recentSpaces]numbered
	wheel  *wheel
	newest int64 // the latest start of a row
	oldest int64 // the earliest
	last   int64 // the latest end
	swept  int64 // newest when flows were last swept

	// lifetimes are the lifetimes of all TCP flows that were seen to end, in buckets up to each power of two of a
	// millisecond.
	lifetimes [lifetimeBuckets + 1]uint64
	lifeSum   float64 // ns
	reasons   [collector.NumReasons]uint64
	points    []Point
	pointAt   int64 // when the last of points begins
	late      int
	listed    int
	ended     func(Flow) // nil for nobody
}

// Flow is a flow whose rows were put together.
type Flow struct {
	Tuple Tuple
	// Start and End are in ns since 1970.
	Start, End int64
	Reason     collector.Reason
}

// OnEnd calls f with each flow once its end is known, or is taken for known.
func (c *Counter) OnEnd(f func(Flow)) { c.ended = f }

// lifetimeBuckets reach up to 2^22 ms, 70 minutes.
const lifetimeBuckets = 23

// Point is the most that any one port space held within the five minutes from At.
type Point struct {
	At   time.Time
	Most int
}

// interval is the time from one point to the next.
const interval = 5 * time.Minute

// spaceKey is a port space; source and ports are left out where the budget does not tell by them.
type spaceKey struct {
	source, destination Addr
	port                uint16
	protocol            collector.Protocol
}

// Space is one port space and what it held.
type Space struct {
	key    spaceKey
	unique budget.Uniqueness
	held   int
	// Most ports were held at MostAt.
	Most   int
	MostAt time.Time
	// above is since when the effective ceiling is reached, 0 for not; Exhausted is for how long it was in all.
	above     int64
	Exhausted time.Duration
	ceiling   int
}

// NewCounter counts under b. Ports are shared by all sources where b is.
func NewCounter(b *budget.Budget) *Counter {
	c := &Counter{
		budget: b, shared: b.Scope == budget.ScopeShared,
		flows: newFlowTable(), ends: newEndTable(), number: map[spaceKey]int32{},
	}
	c.wheel = newWheel(c.apply)
	return c
}

// lag is how late a row may come, and its flow's end be known after that: the longest interval of a log, the longest
// gap, and the time between sweeps.
const lag = int64(25 * time.Minute)

// count counts one row, whose tuple has that hash if rows of the log can be parts of flows.
func (c *Counter) count(r *Row, hash uint64) {
	terms := c.budget.Terms(r.Tuple.Protocol)
	if terms.Ports == 0 {
		return
	}
	if r.State == Listed {
		s := c.spaces[c.space(&r.Tuple, terms)]
		c.listed++
		if r.Reason != collector.ReasonUnknown && terms.CoolDown[r.Reason] == 0 {
			return // it has ended, and its port is free
		}
		s.held++
		s.Most = max(s.Most, s.held)
		return
	}
	if c.oldest == 0 || r.Start < c.oldest {
		c.oldest = r.Start
	}
	c.last = max(c.last, r.End, r.Start)
	c.advance(r.Start)
	if c.gap == 0 { // a row is a whole flow
		c.take(&live{tuple: r.Tuple, space: c.space(&r.Tuple, terms), start: r.Start, end: r.End}, r, terms, true)
		return
	}
	if f := c.flows.find(&r.Tuple, hash); f == nil {
		ended := c.ends.find(hash)
		if c.leftover(r, ended) || r.State == Closed {
			return // or it began before the log
		}
		began := live{tuple: r.Tuple, space: c.space(&r.Tuple, terms), start: r.Start, end: r.End}
		if c.take(&began, r, terms, true) {
			c.ends.put(ended, hash, began.end)
		} else {
			c.flows.add(began, hash)
		}
	} else {
		later := r.State != Closed && r.Start-f.end > c.gap
		if later { // another flow of the same tuple
			c.finish(f, collector.ReasonUnknown)
			*f = live{tuple: r.Tuple, space: c.space(&r.Tuple, terms), start: r.Start, end: r.End}
		}
		if c.take(f, r, terms, later) {
			c.ends.put(c.ends.find(hash), hash, f.end)
			c.flows.remove(&r.Tuple, hash)
		}
	}
	if c.newest-c.swept >= int64(interval) {
		c.sweep(c.newest)
	}
}

// take counts a row of a flow, which may be its first, and reports whether the flow has ended.
func (c *Counter) take(f *live, r *Row, terms *budget.Terms, first bool) bool {
	if first {
		c.open(f)
	}
	f.start, f.end = min(f.start, r.Start), max(f.end, r.End)
	switch r.State {
	case Ended, Closed:
		c.finish(f, r.Reason)
	case Instant:
		c.finish(f, collector.ReasonUnknown)
	case Unanswered:
		f.end += int64(halfOpen(terms))
		c.finish(f, collector.Timeout)
	default:
		return false
	}
	return true
}

// leftover reports whether a row is of the last packets of a flow that has ended, of which s is the slot: a log that
// tells of every end has none.
func (c *Counter) leftover(r *Row, s *endSlot) bool {
	switch {
	case s.end == 0:
		return false
	case r.State != Closed && r.Start > s.end && (c.gap == never || r.Start-s.end > leftoverMost):
		return false
	}
	s.end = max(s.end, r.End)
	return true
}

// leftoverMost is how long after a flow's end its last packets may still make a row.
const leftoverMost = int64(30 * time.Second)

// halfOpen is how long an open without an answer holds its port after its last SYN: as the terms say, else as long as
// conntrack keeps SYN_SENT.
func halfOpen(t *budget.Terms) time.Duration {
	if t.HalfOpen > 0 {
		return t.HalfOpen
	}
	return 120 * time.Second
}

// space finds or makes a flow's port space.
func (c *Counter) space(t *Tuple, terms *budget.Terms) int32 {
	source, destination, port := &t.Source, &t.Destination, t.DestinationPort
	var all Addr
	if c.shared {
		source = &all
	}
	switch terms.Unique {
	case budget.PerAddress:
		port = 0
	case budget.PerNothing:
		port, destination = 0, &all
	}
	hash := hashEnds(source, destination, uint64(port)<<8|uint64(t.Protocol))
	r := &c.recent[hash%recentSpaces]
	if r.hash == hash && r.number > 0 {
		return r.number - 1
	}
	k := spaceKey{source: *source, destination: *destination, port: port, protocol: t.Protocol}
	n, ok := c.number[k]
	if !ok {
		n = int32(len(c.spaces))
		c.number[k] = n
		c.spaces = append(c.spaces, &Space{key: k, unique: terms.Unique, ceiling: terms.Effective})
	}
	*r = numbered{hash, n + 1}
	return n
}

// recentSpaces are the port spaces that are found without the map: most rows are of few.
const recentSpaces = 1 << 10

// numbered is the hash of a port space and its place in Counter.spaces, from 1 on.
type numbered struct {
	hash   uint64
	number int32
}

// open counts a flow from its start on.
func (c *Counter) open(f *live) {
	if f.start < c.wheel.now {
		c.late++
	}
	c.wheel.add(change{f.start, f.space, 1})
}

// finish releases a flow's port a cool-down after its end.
func (c *Counter) finish(f *live, why collector.Reason) {
	c.reasons[why]++
	if c.ended != nil {
		c.ended(Flow{f.tuple, f.start, f.end, why})
	}
	if f.tuple.Protocol == collector.TCP {
		life := f.end - f.start
		ms := uint64((life + 999_999) / 1_000_000)
		k := 0
		if ms > 1 {
			k = bits.Len64(ms - 1)
		}
		c.lifetimes[min(k, lifetimeBuckets)]++
		c.lifeSum += float64(life)
	}
	cool := c.budget.Terms(f.tuple.Protocol).CoolDown[why]
	c.wheel.add(change{f.end + int64(cool), f.space, -1})
}

// advance moves the count on to what can be late no more.
func (c *Counter) advance(now int64) {
	if now <= c.newest {
		return
	}
	c.newest = now
	if now-lag > c.wheel.now {
		c.wheel.advance(now - lag)
	}
}

// sweep ends flows that had no row for longer than the gap, and forgets ends of which no row can come any more.
func (c *Counter) sweep(now int64) {
	c.swept = now
	c.flows.sweep(func(f *live) bool {
		if now-f.end <= c.gap {
			return true
		}
		c.finish(f, collector.ReasonUnknown)
		return false
	})
	c.ends.sweep(now - lag)
}

// apply takes or releases a port.
func (c *Counter) apply(x change) {
	s := c.spaces[x.space]
	s.held += int(x.by)
	if x.by > 0 && s.held > s.Most {
		s.Most, s.MostAt = s.held, time.Unix(0, x.at)
	}
	switch {
	case s.above == 0 && s.held >= s.ceiling:
		s.above = x.at
	case s.above != 0 && s.held < s.ceiling:
		s.Exhausted += time.Duration(x.at - s.above)
		s.above = 0
	}
	if x.by > 0 {
		c.point(x.at, s.held)
	}
}

// point keeps the most of each interval.
func (c *Counter) point(at int64, held int) {
	if n := len(c.points); n > 0 && at < c.pointAt+int64(interval) {
		c.points[n-1].Most = max(c.points[n-1].Most, held)
		return
	}
	c.pointAt = at - at%int64(interval)
	c.points = append(c.points, Point{time.Unix(0, c.pointAt), held})
}

// Close counts what is still open as open to the end of the log.
func (c *Counter) Close() {
	c.flush()
	c.flows.sweep(func(f *live) bool {
		if c.gap == never {
			f.end = max(f.end, c.newest)
		}
		c.finish(f, collector.ReasonUnknown)
		return false
	})
	c.wheel.advance(never)
}

// Spaces are the port spaces, the fullest of its budget first; at most n.
func (c *Counter) Spaces(n int) []*Space {
	all := slices.SortedFunc(slices.Values(c.spaces), func(a, b *Space) int {
		return cmp.Or(cmp.Compare(b.Most*a.ceiling, a.Most*b.ceiling), cmp.Compare(a.Name(), b.Name()))
	})
	return all[:min(n, len(all))]
}

// Name is what a space is called: its destination.
func (s *Space) Name() string {
	switch s.unique {
	case budget.PerAddress:
		return s.key.destination.String() + ":*"
	case budget.PerNothing:
		return "*"
	}
	t := Tuple{Destination: s.key.destination, DestinationPort: s.key.port}
	return t.DestinationEndpoint()
}

// Source is whose flows they are; empty where a budget is shared.
func (s *Space) Source() string {
	if s.key.source == (Addr{}) {
		return ""
	}
	return s.key.source.String()
}

// counts lists numbers by name.
func counts(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%d %s", m[k], k))
	}
	return strings.Join(parts, ", ")
}

// Read counts a whole log. Several logs may be read one after the other, in order of time.
func (c *Counter) Read(from io.Reader) (*Result, error) { return read(from, c.setFormat, c.Take) }

// ReadFile counts a file.
func (c *Counter) ReadFile(path string) (*Result, error) { return readFile(path, c.setFormat, c.Take) }

// setFormat begins another log.
func (c *Counter) setFormat(f Format) {
	c.flush()
	c.gap = f.Gap
}
