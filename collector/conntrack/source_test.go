package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  Config
		want string
	}{
		{"longer than the kernel remembers", Config{Interval: 11 * time.Second}, "interval 11s: want more than 0 and at most 10s"},
		{"negative", Config{Interval: -1}, "interval -1ns: want more than 0 and at most 10s"},
		{"beside events", Config{EventsInterval: time.Hour}, "interval of dumps beside events 1h0m0s: want more than 0 and at most 1m0s"},
		{"drain", Config{DrainInterval: time.Minute}, "interval of reading events 1m0s: want more than 0 and at most 1s"},
		{"buffer", Config{ReadBuffer: -1}, "receive buffer of -1 bytes: want more than 0"},
		{"budget", Config{CPUBudget: -1}, "CPU budget of -1 cores: want more than 0"},
		{"strategy", Config{Strategy: 7}, "strategy 7: want auto, poll or events"},
		{"zero value", Config{}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := New(tt.cfg)
			if got := fmt.Sprint(err); err == nil && tt.want != "" || err != nil && got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	for s := Auto; s <= Events; s++ {
		if got, err := ParseStrategy(s.String()); got != s || err != nil {
			t.Errorf("strategy %v: %v, %v", s, got, err)
		}
	}
	if _, err := ParseStrategy("both"); err == nil || !strings.Contains(err.Error(), `"both"`) {
		t.Errorf("strategy both: %v", err)
	}
}

// ledger is the simplest there is: who is live, by what a Source says.
type ledger struct {
	live     map[netip.AddrPort]uint32
	fresh    map[netip.AddrPort]bool // since Begin
	dumping  bool
	exact    bool
	overruns int
	ends     int
}

func (l *ledger) sink(_ context.Context, events []collector.Event) error {
	if l.live == nil {
		l.live = map[netip.AddrPort]uint32{}
	}
	for i := range events {
		e := &events[i]
		switch e.Kind {
		case collector.Begin:
			l.fresh, l.dumping, l.exact = map[netip.AddrPort]bool{}, true, true
		case collector.Seen, collector.Opened:
			l.live[e.Flow.Source] = e.Flow.ID
			l.fresh[e.Flow.Source] = true
		case collector.Closed:
			delete(l.live, e.Flow.Source)
		case collector.Overrun:
			l.exact, l.overruns = false, l.overruns+1
		case collector.Abort:
			l.exact, l.dumping = false, false
		case collector.End:
			for k := range l.live {
				if !l.fresh[k] {
					delete(l.live, k)
				}
			}
			l.dumping, l.ends = false, l.ends+1
		}
	}
	return nil
}

// Where events come faster than they are read some are lost. The source says so, and a dump
// makes what it tells exact again.
func TestKernelOverrun(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	s, err := New(Config{Netns: ns, Strategy: Events, ReadBuffer: 1, EventsInterval: time.Minute, DrainInterval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s.cfg.ReadBuffer = 4 << 10 // two events
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var l ledger
	c := newCreator(t, ns)
	const flows = 2000
	wrote := false
	err = s.Run(ctx, func(ctx context.Context, events []collector.Event) error {
		if err := l.sink(ctx, events); err != nil {
			return err
		}
		if l.ends > 0 && !wrote { // between two reads of the events
			wrote = true
			for i := range flows {
				c.add(established(netip.AddrPortFrom(addr("10.0.0.1"), uint16(i+1)), netip.MustParseAddrPort("203.0.113.7:53"), netip.AddrPort{}))
			}
			c.flush()
			for i := range flows / 2 {
				c.del(established(netip.AddrPortFrom(addr("10.0.0.1"), uint16(i+1)), netip.MustParseAddrPort("203.0.113.7:53"), netip.AddrPort{}))
			}
			c.flush()
		}
		if l.overruns > 0 && l.exact && !l.dumping && len(l.live) == flows/2 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for src := range l.live {
		if src.Port() <= flows/2 {
			t.Fatalf("%v is live and was deleted", src)
		}
	}
	if st := s.Stats(); st.Overruns == 0 || st.Resyncs == 0 || st.Overruns != uint64(l.overruns) || st.Strategy != Events {
		t.Errorf("stats %+v", st)
	}
}

// Before each dump but the first, whoever wants to prepare for it gets one call.
func TestKernelSoon(t *testing.T) {
	t.Parallel()
	for _, strategy := range []Strategy{Poll, Events} {
		t.Run(strategy.String(), func(t *testing.T) {
			t.Parallel()
			told := 0
			s, err := New(Config{
				Netns: kerneltest.Netns(t), Strategy: strategy, CPUBudget: 10, Interval: 10 * time.Millisecond,
				EventsInterval: 10 * time.Millisecond, DrainInterval: time.Millisecond, Soon: func() { told++ },
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			dumps := 0
			err = s.Run(ctx, func(_ context.Context, events []collector.Event) error {
				for i := range events {
					if events[i].Kind != collector.Begin {
						continue
					}
					if told != dumps {
						t.Errorf("told %d times before dump %d", told, dumps+1)
					}
					if dumps++; dumps == 5 {
						cancel()
					}
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// While flows come and go under a dump, its events and those of the listener lead to what is there
// in the end: an event does not overtake the dump's older news of the same flow.
func TestKernelEventsDuringDumps(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	sysctl(t, ns, "events", "1") // 2 leaves out flows that are older than the listener
	c := newCreator(t, ns)
	entry := func(i int) *tableEntry {
		return established(netip.AddrPortFrom(addr("10.0.0.1"), uint16(i+1)), netip.MustParseAddrPort("203.0.113.7:53"), netip.AddrPort{})
	}
	const flows = 5000
	for i := range flows {
		c.add(entry(i))
	}
	c.flush()
	s, err := New(Config{Netns: ns, Strategy: Events, EventsInterval: time.Millisecond, DrainInterval: time.Millisecond, CPUBudget: 10})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var l ledger
	begun, churned := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(churned)
		<-begun
		for i := 0; i < flows; i += 2 {
			c.del(entry(i))
			if i%4 == 0 {
				c.add(entry(flows + i))
			}
			if i%100 == 0 {
				c.flush()
				time.Sleep(2 * time.Millisecond)
			}
		}
		c.flush()
	}()
	dead, ends := 0, 0
	var once sync.Once
	closed := map[netip.AddrPort]bool{}
	err = s.Run(ctx, func(ctx context.Context, events []collector.Event) error {
		for i := range events {
			switch e := &events[i]; e.Kind {
			case collector.Begin:
				once.Do(func() { close(begun) })
			case collector.Closed:
				closed[e.Flow.Source] = true
			case collector.Seen:
				if closed[e.Flow.Source] {
					dead++
				}
			case collector.End:
				select {
				case <-churned:
					if ends++; ends == 2 {
						cancel()
					}
				default:
				}
			}
		}
		return l.sink(ctx, events)
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if dead != 0 {
		t.Errorf("%d flows were seen after they were closed", dead)
	}
	want := map[netip.AddrPort]bool{}
	for i := range flows {
		if i%2 == 1 {
			want[entry(i).src] = true
		}
		if i%4 == 0 {
			want[entry(flows+i).src] = true
		}
	}
	got := map[netip.AddrPort]bool{}
	for k := range l.live {
		got[k] = true
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Errorf("live (-want +got):\n%s", d)
	}
	if st := s.Stats(); st.Dumps < 2 || st.Closed != flows/2 {
		t.Errorf("stats %+v", st)
	}
}

// Only translated flows pass the socket's filter, so the others take no room in its queue.
func TestKernelOnlyTranslatedEvents(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	s := run(t, Config{Netns: ns, Strategy: Events, OnlyTranslated: true, DrainInterval: time.Millisecond})
	c := newCreator(t, ns)
	for i := range 200 {
		c.add(benchEntry(i, i%10 == 0))
	}
	c.flush()
	for i := range 200 {
		c.del(benchEntry(i, i%10 == 0))
	}
	c.flush()
	s.await("the events of 20 flows", func(r *record) bool {
		k := r.kinds()
		return k[collector.Opened] == 20 && k[collector.Closed] == 20
	})
	for _, k := range []collector.Kind{collector.Opened, collector.Closed} {
		for _, f := range s.record.flows(k) {
			if !f.Translated {
				t.Errorf("%v: %+v", k, f)
			}
		}
	}
}

// Without events the source polls, says why, and goes over to events once it may.
func TestKernelEventsOff(t *testing.T) {
	t.Parallel()
	ns := natNetns(t, map[string]string{"events": "0"})
	s := run(t, Config{Netns: ns, Strategy: Events, Interval: 20 * time.Millisecond})
	st := s.src.Stats()
	if st.Strategy != Poll || !errors.Is(st.EventsError, ErrEventsOff) || !strings.Contains(st.Why, "net.netfilter.nf_conntrack_events") {
		t.Errorf("stats %+v", st)
	}
	r := newTraffic(t, ns)
	a, b := r.tcp()
	defer func() { _, _ = a.Close(), b.Close() }()
	s.last(collector.Seen, source(a), nil)
}

// A source reports a namespace that nobody uses any more as empty, also where a dump of it has begun.
func TestKernelNamespaceVanishes(t *testing.T) {
	t.Parallel()
	for _, during := range []bool{false, true} {
		t.Run(fmt.Sprintf("during a dump %v", during), func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.Netns(t)
			c := newCreator(t, ns)
			for i := range 1000 {
				c.add(benchEntry(i, true))
			}
			c.flush()
			var alive atomic.Bool
			alive.Store(true)
			s, err := New(Config{Netns: ns, Alive: alive.Load, Strategy: Poll, Interval: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			var l ledger
			var got record
			err = s.Run(t.Context(), func(ctx context.Context, events []collector.Event) error {
				_, _ = got.sink(ctx, events), l.sink(ctx, events)
				if l.ends > 0 || during {
					alive.Store(false)
					s.aliveRead = 0 // do not wait for the next look
				}
				return nil
			})
			if !errors.Is(err, ErrGone) {
				t.Fatal(err)
			}
			if n := len(got.events); len(l.live) != 0 || got.events[n-1].Kind != collector.End || got.events[n-2].Kind != collector.Begin {
				t.Errorf("%d flows are left; last events %v", len(l.live), got.events[n-2:])
			}
			if aborts := got.kinds()[collector.Abort]; during != (aborts == 1) {
				t.Errorf("%d aborted dumps", aborts)
			}
		})
	}
}

// Run ends with its context wherever it is: waiting, dumping, or in the sink.
func TestKernelCancel(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	c := newCreator(t, ns)
	for i := range 3000 {
		c.add(benchEntry(i, true))
	}
	c.flush()
	for _, strategy := range []Strategy{Poll, Events} {
		for _, after := range []int{1, 2, 1 << 30} {
			t.Run(fmt.Sprintf("%v after %d", strategy, after), func(t *testing.T) {
				t.Parallel()
				s, err := New(Config{Netns: ns, Strategy: strategy})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				calls := 0
				var cancelled atomic.Int64 // of the wall clock, in ns
				stop := func() { cancelled.Store(time.Now().UnixNano()); cancel() }
				err = s.Run(ctx, func(ctx context.Context, events []collector.Event) error {
					if calls++; calls == after {
						stop()
						return ctx.Err()
					}
					if after == 1<<30 && events[len(events)-1].Kind == collector.End {
						time.AfterFunc(100*time.Millisecond, stop) // while it waits for the next dump
					}
					return nil
				})
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if took := time.Since(time.Unix(0, cancelled.Load())); calls > after || took > time.Minute {
					t.Errorf("%d calls, ended %v after it was cancelled", calls, took)
				}
			})
		}
	}
}

// Without the right to, the error says which is missing.
func TestKernelPermission(t *testing.T) {
	if !kerneltest.Unprivileged(t) {
		return
	}
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context(), (&record{}).sink); !errors.Is(err, ErrPermission) {
		t.Errorf("got %v, want %v", err, ErrPermission)
	}
	st, err := OpenStatistics(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Read(t.Context()); !errors.Is(err, ErrPermission) {
		t.Errorf("statistics: got %v, want %v", err, ErrPermission)
	}
}
