package timeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/prom"
)

// Options say where things are. Every field is needed.
type Options struct {
	// Agent is the address at which the agent serves /metrics.
	Agent string
	// Prometheus and Alertmanager are programs; Debian's alertmanager has another name, which is
	// found too.
	Prometheus, Alertmanager string
	// Rules is the folder of rule files, Routing the sample configuration of Alertmanager.
	Rules, Routing string
	// Intervals are scrape and evaluation intervals. Each has a Prometheus of its own; the first one sends its alerts to
	// Alertmanager.
	Intervals []time.Duration
	// PageAt is the urgency at which the rules page.
	PageAt float64
}

// Names of the alerts that the timeline follows.
const (
	predicted = "SnatExhaustionPredicted"
	exhausted = "SnatPortsExhausted"
)

// Event is one thing that happened.
type Event struct {
	At   time.Time
	What string
}

// Timeline is what happened in one incident. A zero time means that it did not happen.
type Timeline struct {
	Events []Event
	// Burst is when the store began to slow, Failure when the first call failed, Relief when the second VIP was added.
	Burst, Failure, Relief time.Time
	// Crossed is when the urgency of the page passed its threshold.
	Crossed time.Time
	// Fired and Cleared are when the page fired and cleared, by interval.
	Fired, Cleared map[time.Duration]time.Time
	// Paged is when Alertmanager delivered the page, Exhausted when SnatPortsExhausted fired, Inhibited when
	// Alertmanager held the prediction back because of it.
	Paged, Exhausted, Inhibited time.Time
}

// Play starts the programs, plays the incident to its end, and prints each event as it happens. run plays the
// incident and calls observe with its numbers. Play returns an error if a program fails or if the page came too late.
func Play(ctx context.Context, w io.Writer, o Options, run func(ctx context.Context,
	observe func(lab.Moment)) error,
) error {
	dir, err := os.MkdirTemp("", "snatwatch-timeline-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := newRecorder(w, o)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	hooks := &http.Server{Handler: http.HandlerFunc(r.delivered), ReadHeaderTimeout: 10 * time.Second}
	defer func() { _ = hooks.Close() }()
	am, err := o.alertmanager(ctx, dir, listener.Addr().String())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	servers := map[time.Duration]*prom.Server{}
	for i, interval := range o.Intervals {
		to := ""
		if i == 0 {
			to = am.URL
		}
		if servers[interval], err = o.prometheus(ctx, dir, interval, to); err != nil {
			return errors.Join(err, listener.Close())
		}
	}
	_, _ = fmt.Fprintf(w, "Prometheus at %s, Alertmanager at %s, agent at http://%s\n\n", servers[o.Intervals[0]].URL,
		am.URL, o.Agent)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := hooks.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	done, end := context.WithCancel(ctx)
	g.Go(func() error {
		defer end()
		return run(ctx, r.observe)
	})
	g.Go(func() error {
		r.poll(done, servers, am)
		return hooks.Close()
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return errors.Join(r.report(w), r.verdict())
}

// recorder makes the timeline out of what the lab, the agent and the programs say.
type recorder struct {
	o   Options
	w   io.Writer
	mu  sync.Mutex
	t   Timeline
	now func() time.Time
	// stage is the incident's stage, lab.NumStages before the incident starts.
	stage lab.Stage
}

func newRecorder(w io.Writer, o Options) *recorder {
	return &recorder{o: o, w: w, now: time.Now, stage: lab.NumStages, t: Timeline{
		Fired: map[time.Duration]time.Time{}, Cleared: map[time.Duration]time.Time{},
	}}
}

// tell adds an event and prints it, in seconds since the burst.
func (r *recorder) tell(at time.Time, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	r.t.Events = append(r.t.Events, Event{at, what})
	since := "       "
	if !r.t.Burst.IsZero() {
		since = fmt.Sprintf("%+6.0f s", at.Sub(r.t.Burst).Seconds())
	}
	_, _ = fmt.Fprintf(r.w, "%s  %s  %s\n", at.Format("15:04:05"), since, what)
}

// observe notes the incident's numbers; the lab calls it.
func (r *recorder) observe(m lab.Moment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !m.FirstFailure.IsZero() && r.t.Failure.IsZero() {
		r.t.Failure = m.FirstFailure
		r.tell(m.FirstFailure, "the first call fails: no connection, %d sockets wait in SYN_SENT", m.Opening)
	}
	if m.Stage == r.stage {
		return
	}
	r.stage = m.Stage
	switch m.Stage {
	case lab.Burst:
		r.t.Burst = m.At
	case lab.Relief:
		r.t.Relief = m.At
	}
	r.tell(m.At, "%s: %s; %d connections, %d calls failed", m.Stage, map[lab.Stage]string{
		lab.Baseline:  "few calls, a fast store",
		lab.Burst:     "more calls, and the store slows down",
		lab.Exhausted: "the load stays",
		lab.Relief:    "a second VIP is added",
		lab.Recovery:  "the store is fast again",
	}[m.Stage], m.Live, m.Failed)
}

// delivered notes a page; Alertmanager calls it as its webhook.
func (r *recorder) delivered(_ http.ResponseWriter, req *http.Request) {
	var n struct {
		Status   string
		Receiver string
		Alerts   []struct {
			Labels      map[string]string
			Annotations map[string]string
			Status      string
		}
	}
	if json.NewDecoder(req.Body).Decode(&n) != nil || n.Receiver != "page" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range n.Alerts {
		if a.Labels["alertname"] == predicted && a.Status == "firing" && r.t.Paged.IsZero() {
			r.t.Paged = r.now()
			r.tell(r.t.Paged, "the page is delivered: %s", a.Annotations["description"])
		}
	}
}

// poll asks agent and programs every second until ctx ends.
func (r *recorder) poll(ctx context.Context, servers map[time.Duration]*prom.Server, am *prom.Server) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p, held := r.forecast(ctx)
		firing := map[time.Duration][]string{}
		asked := map[time.Duration]bool{}
		for interval, s := range servers {
			firing[interval], asked[interval] = alerts(ctx, s)
		}
		held2 := r.inhibited(ctx, am)
		r.mu.Lock()
		r.note(p, held, firing, asked, held2)
		r.mu.Unlock()
	}
}

// note adds events for what has changed.
func (r *recorder) note(p float64, held int, firing map[time.Duration][]string, asked map[time.Duration]bool,
	inhibited bool,
) {
	now := r.now()
	if p >= r.o.PageAt && r.t.Crossed.IsZero() && !r.t.Burst.IsZero() {
		r.t.Crossed = now
		r.tell(now, "the forecast crosses: a page is urgent (%.2f), %d ports held", p, held)
	}
	for _, interval := range r.o.Intervals {
		if !asked[interval] {
			continue
		}
		on := slices.Contains(firing[interval], predicted)
		switch {
		case on && r.t.Fired[interval].IsZero():
			r.t.Fired[interval] = now
			r.tell(now, "%s fires at a %s interval", predicted, interval)
		case !on && !r.t.Fired[interval].IsZero() && r.t.Cleared[interval].IsZero() && !r.t.Relief.IsZero():
			r.t.Cleared[interval] = now
			r.tell(now, "%s clears at a %s interval", predicted, interval)
		}
	}
	if slices.Contains(firing[r.o.Intervals[0]], exhausted) && r.t.Exhausted.IsZero() {
		r.t.Exhausted = now
		r.tell(now, "%s fires", exhausted)
	}
	if inhibited && r.t.Inhibited.IsZero() {
		r.t.Inhibited = now
		r.tell(now, "%s is inhibited: what fails need not be predicted", predicted)
	}
}
