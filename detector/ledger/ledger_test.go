package ledger

import (
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// start of every test's clock.
const epoch = collector.Time(1_700_000_000 * int64(time.Second))

func at(seconds float64) collector.Time {
	return epoch + collector.Time(math.Round(seconds*1e9))
}

func exactly(seconds float64) collector.Interval {
	return collector.Interval{From: at(seconds), To: at(seconds)}
}

// azure is the incident's budget: 240 s after FIN, 15 s after RST, 4 minutes idle.
func azure() *budget.Budget {
	t := budget.Terms{Ports: 1024, Effective: 1024, Idle: 240 * time.Second}
	t.CoolDown[collector.ReasonUnknown] = 240 * time.Second
	t.CoolDown[collector.FIN] = 240 * time.Second
	t.CoolDown[collector.RST] = 15 * time.Second
	t.CoolDown[collector.Evicted] = 240 * time.Second
	u := budget.Terms{Ports: 1024, Effective: 1024, Idle: 240 * time.Second, Unique: budget.PerAddress}
	return &budget.Budget{Name: "azure", TCP: t, UDP: u}
}

// plain is a budget without any clock of its own.
func plain() *budget.Budget {
	t := budget.Terms{Ports: 100, Effective: 92}
	return &budget.Budget{Name: "plain", TCP: t, UDP: t}
}

// a flow of test number n from 10.0.0.1 to 203.0.113.7:443.
func flowTo(n int, destination string) collector.Flow {
	src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(n >> 16), 1}), uint16(n))
	return collector.Flow{
		Protocol: collector.TCP, State: collector.Established, Netns: 1, ID: uint32(n + 1),
		Source: src, VIP: src, Destination: netip.MustParseAddrPort(destination),
	}
}

const store = "203.0.113.7:443"

// script applies events to a ledger in the words of the tests.
type script struct {
	*Ledger
	t *testing.T
}

func newScript(t *testing.T, cfg Config) script {
	if cfg.Start == 0 {
		cfg.Start = at(0)
	}
	return script{New(cfg), t}
}

func (s script) event(k collector.Kind, seconds float64, f collector.Flow) {
	s.Apply(&collector.Event{Kind: k, At: at(seconds), Netns: 1, Flow: f})
}

func (s script) open(seconds float64, f collector.Flow) {
	f.Opened = exactly(seconds)
	f.Active = at(seconds)
	s.event(collector.Opened, seconds, f)
}

func (s script) close(seconds float64, f collector.Flow, r collector.Reason) {
	f.State, f.Reason, f.Ended = collector.Done, r, exactly(seconds)
	s.event(collector.Closed, seconds, f)
}

// dump shows flows between a Begin and an End half a second later.
func (s script) dump(seconds float64, flows ...collector.Flow) {
	s.event(collector.Begin, seconds, collector.Flow{})
	for _, f := range flows {
		s.event(collector.Seen, seconds+0.25, f)
	}
	s.event(collector.End, seconds+0.5, collector.Flow{})
}

func (s script) tcp(seconds float64) detector.AccountSnapshot {
	return s.Snapshot(at(seconds)).Budgets[0].Protocols[0]
}

// ports are live and cooling.
type ports struct{ Live, Cooling int }

func (s script) want(seconds float64, live, cooling int) {
	s.t.Helper()
	p := s.tcp(seconds)
	if diff := cmp.Diff(ports{live, cooling}, ports{p.Live, p.Cooling}); diff != "" {
		s.t.Errorf("at %v s (-want +got):\n%s", seconds, diff)
	}
	if p.Held != p.Live+p.Cooling {
		s.t.Errorf("at %v s: held %d is not live %d + cooling %d", seconds, p.Held, p.Live, p.Cooling)
	}
}

func (s script) wantTotals(seconds float64, opened uint64, closed map[collector.Reason]uint64) {
	s.t.Helper()
	p := s.tcp(seconds)
	got := map[collector.Reason]uint64{}
	for r, n := range p.Closed {
		if n > 0 {
			got[collector.Reason(r)] = n
		}
	}
	if closed == nil {
		closed = map[collector.Reason]uint64{}
	}
	if diff := cmp.Diff(closed, got); diff != "" {
		s.t.Errorf("closed at %v s (-want +got):\n%s", seconds, diff)
	}
	if p.Opened != opened {
		s.t.Errorf("opened at %v s: %d, want %d", seconds, p.Opened, opened)
	}
}

func TestCoolDownByReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		reason collector.Reason
		held   time.Duration
	}{
		{"FIN", collector.FIN, 240 * time.Second},
		{"RST", collector.RST, 15 * time.Second},
		{"unknown counts as the longest", collector.ReasonUnknown, 240 * time.Second},
		{"evicted", collector.Evicted, 240 * time.Second},
		{"no answer: the NAT waits for its own idle clock", collector.Timeout, 230 * time.Second},
		{"the kernel's idle clock is not the NAT's", collector.Idle, 230 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
			f := flowTo(1, store)
			s.open(0, f)
			s.want(5, 1, 0)
			s.close(10, f, c.reason)
			end := 10 + c.held.Seconds()
			s.want(10, 0, 1)
			s.want(end-0.2, 0, 1)
			s.want(end+0.2, 0, 0)
			s.wantTotals(end+1, 1, map[collector.Reason]uint64{c.reason: 1})
			if n := s.flows.table.count; n != 0 {
				t.Errorf("%d entries left", n)
			}
		})
	}
}

// 4.3 connections a second of 50 ms hold 4.3 × 240 ports: the budget of the incident.
func TestShortFlowsFillTheBudgetByCoolDown(t *testing.T) {
	t.Parallel()
	s := newScript(t, Config{Budgets: []*budget.Budget{azure()}})
	const every = 1 / 4.3
	n := 0
	for x := 0.0; x < 600; x += every {
		n++
		f := flowTo(n, store)
		s.open(x, f)
		s.close(x+0.05, f, collector.FIN)
	}
	p := s.tcp(600)
	if p.Held < 1031 || p.Held > 1033 || p.Live > 1 || p.Busiest != p.Held {
		t.Errorf("held %d (live %d, busiest %d), want 4.3 × 240.05 = 1032", p.Held, p.Live, p.Busiest)
	}
	if r := p.Spaces[0].OpensPerSecond; r < 4.1 || r > 4.5 {
		t.Errorf("%.2f opens a second, want 4.3", r)
	}
	if h := p.Spaces[0].MeanHold; h < 240*time.Second || h > 241*time.Second {
		t.Errorf("mean hold time %v, want 240.05 s", h)
	}
	s.want(900, 0, 0)
}
