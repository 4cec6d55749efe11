package conntrack

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Polling is kept while it fits the budget; else the cheaper strategy is taken, beyond the budget where none fits.
func TestPace(t *testing.T) {
	t.Parallel()
	usual := pacer{interval: 5 * time.Second, eventsInterval: 30 * time.Second, budget: 0.02}
	asked := func(s Strategy) pacer { p := usual; p.wanted = s; return p }
	ends := func(p pacer) pacer { p.endsMatter = true; return p }
	const us, ms = time.Microsecond, time.Millisecond
	tests := []struct {
		name      string
		pacer     pacer
		workload  workload
		now       Strategy
		eventsErr error
		want      pace
	}{
		{
			name: "nothing known yet", pacer: usual, now: Poll,
			want: pace{strategy: Poll, interval: 5 * time.Second},
		},
		{
			name: "a table of 10 000: events would be cheaper, but are not worth it", pacer: usual, now: Poll,
			workload: workload{dump: 20 * ms, rate: 100},
			want:     pace{strategy: Poll, interval: 5 * time.Second, cost: 0.004},
		},
		{
			name: "a table of 1 000 000 that changes little", pacer: usual, now: Poll,
			workload: workload{dump: 2 * time.Second, event: us, rate: 10},
			want:     pace{strategy: Events, interval: 60 * time.Second, cost: 10*2*4.3e-6 + 2./60, exceeded: true},
		},
		{
			name: "a table of 100 000 that changes little", pacer: usual, now: Poll,
			workload: workload{dump: 250 * ms, event: us, rate: 10},
			want:     pace{strategy: Events, interval: 30 * time.Second, cost: 10*2*4.3e-6 + 0.25/30},
		},
		{
			name: "the same, and the process takes most of the budget for the rest", pacer: usual, now: Events,
			workload: workload{dump: 250 * ms, event: us, rate: 10, rest: 0.015},
			want:     pace{strategy: Events, interval: 50 * time.Second, cost: 10*2*4.3e-6 + 0.25/50},
		},
		{
			name: "the same, and more than the budget", pacer: usual, now: Events,
			workload: workload{dump: 250 * ms, event: us, rate: 10, rest: 0.03},
			want:     pace{strategy: Events, interval: 60 * time.Second, cost: 10*2*4.3e-6 + 0.25/60},
		},
		{
			name: "polling misses flows where dumps come late, whatever the rest takes", pacer: usual, now: Poll,
			workload: workload{dump: 20 * ms, rate: 100, rest: 0.019},
			want:     pace{strategy: Poll, interval: 5 * time.Second, cost: 0.004},
		},
		{
			name: "a table of 100 000 short flows: polling fits when stretched", pacer: usual, now: Poll,
			workload: workload{dump: 150 * ms, event: us, rate: 3000},
			want:     pace{strategy: Poll, interval: 7500 * ms, cost: 0.02},
		},
		{
			name: "nothing fits: the cheapest", pacer: usual, now: Poll,
			workload: workload{dump: 300 * ms, event: us, rate: 5000},
			want:     pace{strategy: Poll, interval: 8 * time.Second, cost: 0.0375, exceeded: true},
		},
		{
			name: "events, and the rate rose", pacer: usual, now: Events,
			workload: workload{dump: 100 * ms, event: us, rate: 5000},
			want:     pace{strategy: Poll, interval: 5 * time.Second, cost: 0.02},
		},
		{
			name: "events, and polling would be a little cheaper", pacer: usual, now: Events,
			workload: workload{dump: 190 * ms, event: us, rate: 1500},
			want:     pace{strategy: Events, interval: 30 * time.Second, cost: 1500*2*4.3e-6 + 0.19/30},
		},
		{
			name: "a few flows on a busy machine: a slow dump is no reason to see ends late", pacer: usual, now: Poll,
			workload: workload{dump: 90 * ms, event: us, rate: 20},
			want:     pace{strategy: Poll, interval: 5 * time.Second, cost: 0.018},
		},
		{
			name: "events, and polling fits again though events are cheaper", pacer: usual, now: Events,
			workload: workload{dump: 20 * ms, event: us, rate: 20},
			want:     pace{strategy: Poll, interval: 5 * time.Second, cost: 0.004},
		},
		{
			name: "events off", pacer: asked(Events), now: Events, eventsErr: ErrEventsOff,
			workload: workload{dump: 20 * ms},
			want:     pace{strategy: Poll, interval: 5 * time.Second, cost: 0.004, why: ErrEventsOff.Error()},
		},
		{
			name: "poll asked for", pacer: asked(Poll), now: Poll,
			workload: workload{dump: 2 * time.Second},
			want:     pace{strategy: Poll, interval: 8 * time.Second, cost: 0.25, exceeded: true, why: "asked for"},
		},
		{
			name: "dumps end 2.1 s behind on a busy machine", pacer: asked(Poll), now: Poll,
			workload: workload{dump: 300 * ms, forgets: 10 * time.Second, behind: 2100 * ms},
			want:     pace{strategy: Poll, interval: 5900 * ms, cost: 0.3 / 5.9, exceeded: true, why: "asked for"},
		},
		{
			name: "dumps take as long as a flow is remembered", pacer: ends(usual), now: Poll,
			workload: workload{dump: 300 * ms, forgets: 10 * time.Second, behind: 10 * time.Second},
			want: pace{
				strategy: Poll, interval: time.Second, cost: 0.3, exceeded: true,
				why: "ports are free before events tell that a flow ended",
			},
		},
		{
			name: "conntrack remembers an ended flow for 3 s", pacer: asked(Poll), now: Poll,
			workload: workload{dump: 10 * ms, forgets: 3 * time.Second, behind: 20 * ms},
			want:     pace{strategy: Poll, interval: 2380 * ms, cost: 0.01 / 2.38, why: "asked for"},
		},
		{
			name: "conntrack remembers no ended flow", pacer: asked(Poll), now: Poll,
			workload: workload{dump: ms, forgets: 1},
			want:     pace{strategy: Poll, interval: 100 * ms, cost: 0.01, why: "asked for"},
		},
		{
			name: "conntrack remembers an ended flow for 3 s, events tell ends", pacer: asked(Events), now: Events,
			workload: workload{dump: 10 * ms, event: us, rate: 1, forgets: 3 * time.Second},
			want:     pace{strategy: Events, interval: 30 * time.Second, cost: 2*4.3e-6 + 0.01/30, why: "asked for"},
		},
		{
			name: "each 10 s asked for", pacer: pacer{wanted: Poll, interval: 10 * time.Second, budget: 0.02}, now: Poll,
			want: pace{strategy: Poll, interval: 8 * time.Second, why: "asked for"},
		},
		{
			name: "events asked for", pacer: asked(Events), now: Poll,
			workload: workload{dump: 20 * ms, event: us, rate: 5000},
			want:     pace{strategy: Events, interval: 60 * time.Second, cost: 5000*2*4.3e-6 + 0.02/60, exceeded: true, why: "asked for"},
		},
		{
			name: "events asked for, ports free before an event tells", pacer: ends(asked(Events)), now: Poll,
			workload: workload{dump: 20 * ms, event: us, rate: 500},
			want: pace{
				strategy: Events, interval: 5 * time.Second, cost: 500*2*4.3e-6 + 0.02/5,
				why: "asked for, with dumps as for poll: ports are free before events tell that a flow ended",
			},
		},
		{
			name: "a large table, ports free before an event tells", pacer: ends(usual), now: Events,
			workload: workload{dump: 2 * time.Second, event: us, rate: 50},
			want: pace{
				strategy: Poll, interval: 8 * time.Second, cost: 0.25, exceeded: true,
				why: "ports are free before events tell that a flow ended",
			},
		},
	}
	near := cmp.Options{
		cmp.AllowUnexported(pace{}),
		cmpopts.EquateApprox(0.001, 0),
		cmp.Comparer(func(a, b time.Duration) bool { return (a - b).Abs() < time.Millisecond }),
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.pacer.decide(tt.workload, tt.now, tt.eventsErr)
			if tt.want.why == "" {
				if !strings.Contains(got.why, "poll costs") || !strings.Contains(got.why, "events") {
					t.Errorf("why: %q", got.why)
				}
				got.why = ""
			}
			if d := cmp.Diff(tt.want, got, near); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	if !strings.Contains(ErrEventsOff.Error(), "net.netfilter.nf_conntrack_events") {
		t.Error("the error is to name the sysctl")
	}
}

// What dumps were behind by passes slowly, and is bounded: a machine that was suspended is as busy as before.
func TestLoadLate(t *testing.T) {
	t.Parallel()
	l := workload{forgets: 10 * time.Second}
	for i, step := range []struct{ behind, want time.Duration }{
		{time.Second, time.Second},
		{0, 875 * time.Millisecond},
		{2 * time.Second, 2 * time.Second},
		{time.Hour, 10 * time.Second},
		{0, 8750 * time.Millisecond},
	} {
		if l.late(step.behind); l.behind != step.want {
			t.Errorf("dump %d: %v behind, want %v", i, l.behind, step.want)
		}
	}
}
