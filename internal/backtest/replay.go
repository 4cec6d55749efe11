package backtest

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/backtest/scenario"
)

// Detector is what is judged: a ledger and its forecast. Events and times come in order.
type Detector interface {
	Apply(*collector.Event)
	Advance(now collector.Time)
	// Resize tells that the pool has another size.
	Resize(c record.Change, now collector.Time)
	// Restart forgets everything but a state, if there is to be one. A dump follows, without its beginning.
	Restart(now collector.Time, state bool)
	// Spaces yields the port spaces by destination; what it yields is valid until
	// the next call of any method.
	Spaces(yield func(destination int32, s *detector.SpaceSnapshot))
}

// Counts are what a node exporter would tell of one destination: what the peers know.
type Counts struct {
	At collector.Time
	// Held is live and cooling, Ceiling the effective ceiling.
	Held, Ceiling int
	// Opened, Closed and Lived (seconds, over the closed) are totals since the start.
	Opened, Closed uint64
	Lived          float64
}

// tally is what the replay itself knows of a destination.
type tally struct {
	held           int
	opened, closed uint64
	lived          float64
}

// player walks through the flows of a source.
type player struct {
	source    *record.Source
	detectors []Detector
	coolDown  func(*record.Flow) time.Duration
	tick      time.Duration
	tallies   []tally // by destination
	// onTick is called at each tick, with its number; the detectors have been advanced.
	onTick func(k int, now collector.Time)
	// stopped says at each tick whether to go no further.
	stopped func() bool

	restarts []scenario.Restart

	now     collector.Time // that the detectors were brought to
	changes []record.Change
	ports   int // that the pool's last change gave, 0 before
	ends    ends
	cooling []cooling
	event   collector.Event
	flows   uint32
}

// end is a flow that will end.
type end struct {
	flow record.Flow
	id   uint32
}

// cooling are the ports with the same cool-down: they are released in the order they came.
type cooling struct {
	lasts time.Duration
	ports []release
	next  int // the first that is not released
}

type release struct {
	at          collector.Time
	destination int32
}

// play replays the source. An open at the moment of a tick is seen by it, and so is an end: by what is
// counted, and by the forecast.
func (p *player) play() {
	p.changes = p.source.Changes
	p.now, p.ends, p.cooling = p.source.From, p.ends[:0], nil
	k, now := 0, p.source.From
	ticksUntil := func(t collector.Time) {
		for ; now < t && now <= p.source.To && !p.stopped(); k++ {
			p.endUntil(now)
			for len(p.changes) > 0 && p.changes[0].At <= now {
				p.ports = p.changes[0].Ports
				for _, d := range p.detectors {
					d.Resize(p.changes[0], now)
				}
				p.changes = p.changes[1:]
			}
			for len(p.restarts) > 0 && p.restarts[0].At <= now {
				p.restart(now, p.restarts[0].State)
				p.restarts = p.restarts[1:]
			}
			p.advance(now)
			p.onTick(k, now)
			now = now.Add(p.tick)
		}
	}
	for f := range p.source.Flows {
		if p.stopped() {
			return
		}
		ticksUntil(f.Start)
		p.endUntil(f.Start)
		p.open(f)
	}
	ticksUntil(p.source.To + 1)
}

// share is the ports of a port space: what the pool's size gives, or else the budget's ports.
func (p *player) share(budget int) int {
	if p.ports > 0 {
		return p.ports
	}
	return budget
}

func (p *player) open(f record.Flow) {
	p.flows++
	t := &p.tallies[f.Destination]
	t.held++
	t.opened++
	p.tell(collector.Opened, &f, p.flows)
	p.ends.push(end{f, p.flows})
}

// restart has the detectors start anew. A dump shows them the flows that are live; ports that are cooling it does not.
func (p *player) restart(now collector.Time, state bool) {
	live := slices.SortedFunc(slices.Values(p.ends), func(a, b end) int { return cmp.Compare(a.id, b.id) })
	p.now = now
	for _, d := range p.detectors {
		d.Restart(now, state)
	}
	for i := range live {
		p.tell(collector.Seen, &live[i].flow, live[i].id)
	}
	p.event = collector.Event{Kind: collector.End, Netns: netns, At: now}
	for _, d := range p.detectors {
		d.Apply(&p.event)
	}
}

// endUntil ends and releases what is due.
func (p *player) endUntil(now collector.Time) {
	for len(p.ends) > 0 && p.ends[0].flow.End <= now {
		e := p.ends.pop()
		t := &p.tallies[e.flow.Destination]
		t.closed++
		t.lived += e.flow.End.Sub(e.flow.Start).Seconds()
		p.tell(collector.Closed, &e.flow, e.id)
		p.cool(&e.flow)
	}
	for i := range p.cooling {
		c := &p.cooling[i]
		for c.next < len(c.ports) && c.ports[c.next].at <= now {
			p.tallies[c.ports[c.next].destination].held--
			c.next++
		}
		if c.next > len(c.ports)/2 {
			c.ports = c.ports[:copy(c.ports, c.ports[c.next:])]
			c.next = 0
		}
	}
}

// cool keeps the port of a flow that ended until it is released.
func (p *player) cool(f *record.Flow) {
	lasts := p.coolDown(f)
	r := release{f.End.Add(lasts), f.Destination}
	for i := range p.cooling {
		if c := &p.cooling[i]; c.lasts == lasts {
			c.ports = append(c.ports, r)
			return
		}
	}
	p.cooling = append(p.cooling, cooling{lasts: lasts, ports: []release{r}})
}

// heard is when the detectors learn of what happened at t. A ledger makes its forecast as a second begins: of what
// happens at that very moment it learns a nanosecond earlier, or the forecast would not know of it.
func (p *player) heard(t collector.Time) collector.Time {
	if t > p.source.From && t%collector.Time(time.Second) == 0 {
		return t - 1
	}
	return t
}

// advance brings the detectors to now.
func (p *player) advance(now collector.Time) {
	p.now = now
	for _, d := range p.detectors {
		d.Advance(now)
	}
}

func (p *player) tell(kind collector.Kind, f *record.Flow, id uint32) {
	state := collector.Established
	switch {
	case kind == collector.Closed:
		state = collector.Done
	case f.Reason == collector.Timeout:
		state = collector.Opening
	}
	opened := p.heard(f.Start)
	at := opened
	e := &p.event
	*e = collector.Event{Kind: kind, Netns: netns}
	e.Flow = collector.Flow{
		Protocol:    f.Protocol,
		State:       state,
		ID:          id,
		Netns:       netns,
		Source:      source(id),
		Destination: address(f.Destination),
		Opened:      collector.Interval{From: opened, To: opened},
	}
	e.Flow.VIP = e.Flow.Source
	switch kind {
	case collector.Seen:
		at = p.now
	case collector.Closed:
		at = p.heard(f.End)
		e.Flow.Reason = f.Reason
		e.Flow.Ended = collector.Interval{From: at, To: at}
	}
	e.At = at
	// Between ticks that are seconds apart, too, a forecast is made as its second begins.
	if begins := at - at%collector.Time(time.Second); begins > p.now {
		p.advance(begins)
	}
	for _, d := range p.detectors {
		d.Apply(e)
	}
}

// netns is the network namespace that replayed flows are in.
const netns = 1

// source makes up an address and port, so that no two flows at one time have the same.
func source(id uint32) netip.AddrPort {
	const ports = 1 << 15
	a := [4]byte{10}
	binary.BigEndian.PutUint32(a[:], 10<<24|id/ports)
	return netip.AddrPortFrom(netip.AddrFrom4(a), uint16(ports/2+id%ports))
}

// address stands for a destination of a record, which may be a mere name there.
// The range is one that no default list of destinations leaves out.
func address(destination int32) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 20<<24|uint32(destination))
	return netip.AddrPortFrom(netip.AddrFrom4(a), 443)
}

// ends is a heap by the time of the end.
type ends []end

func (e ends) less(i, j int) bool {
	if e[i].flow.End != e[j].flow.End {
		return e[i].flow.End < e[j].flow.End
	}
	return e[i].id < e[j].id
}

func (e *ends) push(x end) {
	*e = append(*e, x)
	h := *e
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (e *ends) pop() end {
	h := *e
	first, last := h[0], len(h)-1
	h[0] = h[last]
	h = h[:last]
	*e = h
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(h) {
			return first
		}
		if down+1 < len(h) && h.less(down+1, down) {
			down++
		}
		if !h.less(down, i) {
			return first
		}
		h[i], h[down] = h[down], h[i]
		i = down
	}
}
