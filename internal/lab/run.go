package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Options say what Run does. The zero value measures every step and prints a table.
type Options struct {
	// Steps to run, of Steps(); none means all.
	Steps []string
	// JSON prints the report as JSON instead of a table.
	JSON bool
	// Watch, if set, runs beside the steps, for the lab's router to be watched, until its context ends. After
	// the steps the incident goes on, again and again, until Run's context ends.
	Watch func(ctx context.Context, l *Lab) error
	// Ready, if set, is waited for before the incident begins, with the incident's one rule in place.
	Ready func(ctx context.Context) error
	// Incident is what goes on beside Watch; nil means DefaultIncident. Its Node is the lab's choice.
	Incident *Incident
	// IncidentOnly leaves the steps out; with IncidentOnce Run returns when the incident is over.
	IncidentOnly, IncidentOnce bool
}

// step is one experiment. begin, where there is one, runs before any step does.
type step struct {
	name, title string
	begin, run  func(context.Context, *bench, *StepReport) error
}

func steps() []step {
	return []step{
		{name: "one-vip", title: "1100 TCP flows to one destination, behind one VIP with 1024 ports", run: oneVIP},
		{name: "two-vips", title: "2150 TCP flows to one destination, behind two VIPs with 1024 ports each: snat to a " +
			"range, and to a numgen map", run: twoVIPs},
		{name: "spaces", title: "one VIP with 1024 ports, two destinations, TCP and UDP at the same time", run: spaces},
		{name: "fill", title: "how many first packets are lost while one VIP's 1024 ports fill up", run: fillUp},
		{
			name: "close", title: "1000 of 1024 ports taken by flows that end; then 1000 flows more to the same destination",
			run: closing,
		},
		{name: "verify", title: "snatwatch verify: 50 flows more than the ports of one VIP, and of two", run: stressTest},
		{
			name: "idle", title: "1000 of 1024 ports taken by UDP flows that fall silent; then 1000 more, at once and later",
			begin: idleBegin, run: idle,
		},
	}
}

// Steps are the names of all steps, in the order they run.
func Steps() []string {
	var names []string
	for _, s := range steps() {
		names = append(names, s.name)
	}
	return names
}

// Run measures the steps and prints what was measured. It returns an error when something is not as
// expected, after all steps. Nothing of the lab is left when it returns, or when the process ends.
func Run(ctx context.Context, w io.Writer, o Options) error {
	var chosen []step
	for _, s := range steps() {
		if len(o.Steps) == 0 || slices.Contains(o.Steps, s.name) {
			chosen = append(chosen, s)
		}
	}
	for _, name := range o.Steps {
		if !slices.Contains(Steps(), name) {
			return fmt.Errorf("lab: no step %q; there are %s", name, strings.Join(Steps(), ", "))
		}
	}
	// The step with most sockets, spaces, has 4400 of its own and 2048 accepted.
	if err := needFiles(10_000); err != nil {
		return err
	}
	l, err := New(ctx, topology())
	if err != nil {
		return err
	}
	b := &bench{Lab: l}
	defer b.end()
	if o.Watch == nil {
		return b.measure(ctx, w, chosen, o.JSON)
	}
	g, ctx := errgroup.WithContext(ctx)
	watched, unwatch := context.WithCancel(ctx)
	g.Go(func() error {
		err := o.Watch(watched, l)
		if ctx.Err() == nil && watched.Err() != nil {
			err = nil // the incident is over, and the watch was ended for that
		}
		return err
	})
	g.Go(func() error {
		defer unwatch()
		if !o.IncidentOnly {
			if err := b.measure(ctx, w, chosen, o.JSON); err != nil {
				return err
			}
		}
		return b.incidents(ctx, &o)
	})
	return g.Wait()
}

// incidents plays the incident once, or until ctx ends. Its rule is then the only one, so that who watches
// the router has one budget, whose name does not change with the VIPs.
func (b *bench) incidents(ctx context.Context, o *Options) error {
	in := DefaultIncident()
	if o.Incident != nil {
		in = *o.Incident
	}
	in.Node = nodeIncident
	rules := slices.DeleteFunc(slices.Clone(b.nat), func(r NAT) bool { return !slices.Contains(r.Nodes, in.Node) })
	if err := b.SetNAT(rules...); err != nil {
		return err
	}
	if o.Ready != nil {
		if err := o.Ready(ctx); err != nil {
			return err
		}
	}
	for {
		if err := b.RunIncident(ctx, in); err != nil || o.IncidentOnce {
			return err
		}
	}
}

// measure runs the steps and writes the report: the table as it grows, JSON at the end.
func (b *bench) measure(ctx context.Context, w io.Writer, chosen []step, asJSON bool) error {
	r := Report{Kernel: kernelRelease(), Steps: make([]StepReport, len(chosen))}
	table := w
	if asJSON {
		table = io.Discard
	}
	if err := r.writeHead(table); err != nil {
		return err
	}
	for i, s := range chosen {
		sr := &r.Steps[i]
		sr.Name, sr.Title = s.name, s.title
		if s.begin != nil {
			sr.fail(s.begin(ctx, b, sr))
		}
	}
	for i, s := range chosen {
		sr := &r.Steps[i]
		if err := sr.writeTitle(table); err != nil {
			return err
		}
		if sr.Error == "" {
			sr.fail(s.run(ctx, b, sr))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := sr.writeRows(table); err != nil {
			return err
		}
	}
	failures := r.failures()
	r.OK = len(failures) == 0
	if asJSON {
		if err := r.WriteJSON(w); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if !r.OK {
		return errors.New("lab: " + strings.Join(failures, "\nlab: "))
	}
	return nil
}

func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "?"
	}
	return unix.ByteSliceToString(u.Release[:])
}
