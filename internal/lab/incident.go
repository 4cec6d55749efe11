package lab

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Stage is a part of the incident.
type Stage uint8

// The stages, in their order.
const (
	// Baseline: few calls, answered fast. A port is free again at once.
	Baseline Stage = iota
	// Burst: calls come more often and the store answers ever more slowly, so each holds its port longer.
	Burst
	// Exhausted: the load stays; the VIP has no port left and calls fail.
	Exhausted
	// Relief: a second VIP was added; the load stays and is carried.
	Relief
	// Recovery: the store is fast again, the calls are few, the second VIP stays.
	Recovery
	// NumStages is the length of an array indexed by Stage.
	NumStages
)

// String returns the stage as a timeline shows it.
func (s Stage) String() string {
	names := [...]string{"baseline", "burst", "exhausted", "relief", "recovery"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("stage %d", uint8(s))
}

// Incident is the outage behind this project as a script: one node calls one store through one VIP.
type Incident struct {
	// Node and Server by number. The router needs a Numgen rule for the node alone.
	Node, Server int
	// VIPs that the node's rule gets: the first from the start, all of them from Relief on.
	VIPs []netip.Addr
	// Port of the store.
	Port uint16
	// Durations of the stages.
	Durations [NumStages]time.Duration
	// CalmRate and BurstRate are calls per second, Fast and Slow how long the store takes to answer one.
	CalmRate, BurstRate float64
	Fast, Slow          time.Duration
	// Patience is how long a call waits to be connected.
	Patience time.Duration
	// Observe, if set, hears how things stand at each start of a stage and then every Every,
	// one second if zero. The incident waits for it.
	Observe func(Moment)
	Every   time.Duration
}

// Moment is how the incident stands.
type Moment struct {
	At    time.Time
	Stage Stage
	// Live and Opening are the node's sockets to the store in ESTABLISHED and SYN_SENT, counted by the kernel.
	Live, Opening int
	// Calls started, Answered and Failed (not connected within Patience), since the start.
	Calls, Answered, Failed uint64
	// FirstFailure is when the first call failed, zero if none did.
	FirstFailure time.Time
}

// DefaultIncident is exhausted after three minutes and over after nine: 42 calls a second that hold their ports for
// 30 s ask for 1260 ports, where one VIP has 1024 and two have 2048. That is two thirds of what two VIPs carry
// without loss (1884): room enough for the page to clear while the load stays. The store slows down over two and a
// half minutes: in one and a half the last ports went before the page was delivered.
func DefaultIncident() Incident {
	return Incident{
		VIPs: vips(12)[10:], Port: 9000,
		Durations: [NumStages]time.Duration{
			45 * time.Second, 150 * time.Second, time.Minute, 2 * time.Minute,
			150 * time.Second,
		},
		CalmRate: 20, BurstRate: 42,
		Fast: 50 * time.Millisecond, Slow: 30 * time.Second,
		Patience: 10 * time.Second,
	}
}

// IncidentTopology is a lab for DefaultIncident alone: one node, one store, one VIP.
func IncidentTopology() Topology {
	in := DefaultIncident()
	return Topology{NAT: []NAT{{Nodes: []int{in.Node}, Form: Numgen, VIPs: in.VIPs[:1], Ports: perVIP()}}}
}

// demand is what the script asks for at one time.
type demand struct {
	stage Stage
	rate  float64 // calls per second
	delay time.Duration
}

// at returns what the script asks for at a time since the start; ok is false when the incident is over.
func (in *Incident) at(t time.Duration) (asked demand, ok bool) {
	for stage := range NumStages {
		d := in.Durations[stage]
		if t >= d {
			t -= d
			continue
		}
		share := 0.0 // of the way from calm to burst
		switch stage {
		case Burst:
			share = float64(t) / float64(d)
		case Exhausted, Relief:
			share = 1
		}
		return demand{
			stage: stage,
			rate:  in.CalmRate + share*(in.BurstRate-in.CalmRate),
			delay: in.Fast + time.Duration(share*float64(in.Slow-in.Fast)),
		}, true
	}
	return demand{}, false
}

// RunIncident plays the incident once. It returns when the last stage is over and all calls have ended, or when
// ctx ends.
func (l *Lab) RunIncident(ctx context.Context, in Incident) error {
	store, err := l.Server(in.Server).Store(ctx, l.Server(in.Server).At(in.Port), in.Fast)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	if err := l.setVIPs(in.Node, in.VIPs[:1]); err != nil {
		return err
	}
	if in.Every <= 0 {
		in.Every = time.Second
	}
	p := &play{Lab: l, Incident: &in, store: store, start: time.Now()}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.watch(ctx) })
	g.Go(func() error { return p.call(ctx) })
	return g.Wait()
}

// setVIPs gives the rule of one node other VIPs.
func (l *Lab) setVIPs(node int, vips []netip.Addr) error {
	rules := slices.Clone(l.nat)
	for i := range rules {
		if slices.Equal(rules[i].Nodes, []int{node}) && rules[i].Form == Numgen {
			rules[i].VIPs = vips
			return l.SetNAT(rules...)
		}
	}
	return fmt.Errorf("lab: no numgen rule for node %d alone", node)
}

// play is an incident under way.
type play struct {
	*Lab
	*Incident
	store *Server
	start time.Time

	calls, answered, failed atomic.Uint64
	firstFailure            atomic.Pointer[time.Time]
}

// watch changes the stage when its time has come, and tells how things stand.
func (p *play) watch(ctx context.Context) error {
	stage := Baseline
	next := p.start
	for {
		now := time.Now()
		l, ok := p.at(now.Sub(p.start))
		if !ok {
			return nil
		}
		p.store.SetDelay(l.delay)
		if l.stage != stage && l.stage >= Relief && stage < Relief {
			if err := p.setVIPs(p.Incident.Node, p.VIPs); err != nil {
				return err
			}
		}
		if p.Observe != nil && (l.stage != stage || !now.Before(next)) {
			m, err := p.moment(l.stage)
			if err != nil {
				return err
			}
			p.Observe(m)
			next = now.Add(p.Every)
		}
		stage = l.stage
		if err := sleep(ctx, poll); err != nil {
			return err
		}
	}
}

func (p *play) moment(s Stage) (Moment, error) {
	socks, err := p.Lab.Node(p.Incident.Node).Sockets(p.store.Addr)
	m := Moment{
		At: time.Now(), Stage: s, Live: socks.Established, Opening: socks.SynSent,
		Calls: p.calls.Load(), Answered: p.answered.Load(), Failed: p.failed.Load(),
	}
	if t := p.firstFailure.Load(); t != nil {
		m.FirstFailure = *t
	}
	return m, err
}

// call starts calls at the rate of the script, whether or not earlier ones have ended.
func (p *play) call(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	due := 0.0
	last := p.start
	for {
		now := time.Now()
		l, ok := p.at(now.Sub(p.start))
		if !ok {
			return nil
		}
		due += l.rate * now.Sub(last).Seconds()
		last = now
		for ; due >= 1; due-- {
			p.calls.Add(1)
			wg.Go(func() { p.once(ctx) })
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// once makes one call: connect, ask, wait for the answer, close.
func (p *play) once(ctx context.Context) {
	connect, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	c, err := p.Lab.Node(p.Incident.Node).Dial(connect, p.store.Addr)
	if err != nil {
		if ctx.Err() == nil {
			p.failed.Add(1)
			now := time.Now()
			p.firstFailure.CompareAndSwap(nil, &now)
		}
		return
	}
	defer func() { _ = c.Close() }()
	b := []byte{'?'}
	if _, err := c.WriteContext(ctx, b); err != nil {
		return
	}
	if n, err := c.ReadContext(ctx, b); err != nil || n != 1 {
		return
	}
	p.answered.Add(1)
	// FIN, and the server's FIN: without waiting for it the close would be a reset.
	_ = c.CloseWrite()
	ctx, cancel = context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _ = c.ReadContext(ctx, b)
}
