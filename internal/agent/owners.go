package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/owner"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/internal/kube"
)

// owners finds out who holds ports. Its watcher has a goroutine of its own; the rest belongs to the loop.
type owners struct {
	*base
	watcher *owner.Watcher
	table   *owner.Table
	// pods are what the API server says of the pods on this node, by UID; nil where nobody asks it.
	pods atomic.Pointer[map[string]kube.Pod]
}

func newOwners(b *base) *owners {
	w := owner.New(owner.Config{Outer: b.outer, Now: b.now})
	return &owners{base: b, watcher: w, table: owner.NewTable(w)}
}

// run looks at the machine until ctx is cancelled, and says what it cannot tell.
func (o *owners) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.watcher.Run(ctx) })
	g.Go(func() error {
		return every(ctx, machineEvery, func() error {
			o.notices.replace(slog.LevelInfo, "owners", o.watcher.View().Missing)
			return nil
		})
	})
	return g.Wait()
}

// podsEvery is how often the agent takes over what the watch of the pods has learned.
const podsEvery = 2 * time.Second

// followPods takes names and workloads of this node's pods from the API server until ctx is cancelled. Outside a
// cluster nobody is asked. A server that does not answer leaves the names that it told before.
func (o *owners) followPods(ctx context.Context, connect func() (*kube.Client, error)) error {
	if connect == nil {
		return nil
	}
	client, err := connect()
	if err != nil {
		if !errors.Is(err, kube.ErrNoCluster) {
			o.notices.say(slog.LevelInfo, "pods", "pods are shown by their UID where no log folder of the "+
				"kubelet names them: "+err.Error())
		}
		return nil
	}
	node := os.Getenv("NODE_NAME")
	if node == "" {
		name, _ := os.Hostname() // an empty one finds no pod
		node = name
	}
	var pods kube.Pods
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return pods.Follow(ctx, client, node) })
	g.Go(func() error {
		return every(ctx, podsEvery, func() error {
			all, err := pods.All()
			if all != nil {
				o.pods.Store(&all)
			}
			o.notices.say(slog.LevelInfo, "pods", podsText(node, all != nil, pods.Silent(), err))
			return nil
		})
	})
	return g.Wait()
}

// podsText says what is not known of pods; empty if nothing. The server has been silent since then.
func podsText(node string, told bool, since time.Time, err error) string {
	switch {
	case err == nil:
		return ""
	case told:
		return "the API server has not answered since " + since.UTC().Format("2006-01-02 15:04:05 UTC") + ": names and " +
			"workloads of pods are the ones known then, newer pods are shown by their UID: " + err.Error()
	}
	return "pods of node " + node + " are shown by their UID where no log folder of the kubelet names them: " +
		err.Error() +
		"; a ClusterRole that may list and watch pods, and NODE_NAME in the agent's environment, would give their " +
		"names and workloads"
}

// attribute writes into the events of a source whose each flow is.
func (o *owners) attribute(b batch) {
	if o != nil {
		o.table.Attribute(b.events, b.feed != feedNAT)
	}
}

// expectDump says that a dump of conntrack is near.
func (o *owners) expectDump() {
	if o != nil {
		o.watcher.Expect()
	}
}

// forwards reports whether this machine translates flows of others. The loop's goroutine calls it.
func (o *owners) forwards() bool { return o != nil && o.table.Forwards() }

// passing returns those of stalled flows that pass the NAT of the outer namespace, where conntrack is read there. Where
// flows of other machines pass it too, the kernel's counters tell which found no port, for all of them: then none of
// these is taken for one.
func (o *owners) passing(stalled []collector.Flow) []collector.Flow {
	if o == nil {
		return stalled
	}
	var out []collector.Flow
	for i := range stalled {
		if f := stalled[i]; o.table.Passes(&f) {
			f.Translated = f.Translated || o.forwards()
			out = append(out, f)
		}
	}
	return out
}

// name writes into a snapshot who the numbers are, and adds up what owners of one name hold: a pod that was made
// again has another UID.
func (o *owners) name(snap *detector.Snapshot) {
	if o == nil {
		return
	}
	known := map[collector.OwnerNumber]collector.Owner{}
	of := func(n collector.OwnerNumber) collector.Owner {
		w, ok := known[n]
		if !ok {
			w = o.owner(n)
			known[n] = w
		}
		return w
	}
	for i := range snap.Budgets {
		for j := range snap.Budgets[i].Protocols {
			p := &snap.Budgets[i].Protocols[j]
			for k := range p.Spaces {
				p.Spaces[k].Owners = nameHeld(p.Spaces[k].Owners, of)
			}
			p.Owners = nameTotals(p.Owners, of)
		}
	}
}

type ownerName struct {
	kind            collector.OwnerKind
	name, container string
}

func nameHeld(in []detector.OwnerHeld, of func(collector.OwnerNumber) collector.Owner) []detector.OwnerHeld {
	at := make(map[ownerName]int, len(in))
	out := in[:0]
	for _, h := range in {
		h.Owner = of(h.Number)
		key := ownerName{h.Kind, h.Name, h.Container}
		if i, twice := at[key]; twice {
			out[i].Held += h.Held
			continue
		}
		at[key] = len(out)
		out = append(out, h)
	}
	return out
}

func nameTotals(in []detector.OwnerTotals, of func(collector.OwnerNumber) collector.Owner) []detector.OwnerTotals {
	at := make(map[ownerName]int, len(in))
	out := in[:0]
	for _, t := range in {
		t.Owner = of(t.Number)
		key := ownerName{kind: t.Kind, name: t.Name}
		if i, twice := at[key]; twice {
			out[i].Opened += t.Opened
			out[i].MeanLifetime = max(out[i].MeanLifetime, t.MeanLifetime)
			continue
		}
		at[key] = len(out)
		out = append(out, t)
	}
	return out
}

// owner returns who number n is, by the best name there is.
func (o *owners) owner(n collector.OwnerNumber) collector.Owner {
	v := o.watcher.View()
	if v == nil {
		v = &owner.View{}
	}
	id := o.table.Identity(n)
	w := v.Name(id)
	if pods := o.pods.Load(); pods != nil && id.Kind == collector.KindPod {
		if p, ok := (*pods)[id.ID]; ok {
			w.Name, w.Workload, w.WorkloadKind = p.Name, p.Workload, p.Kind
		}
	}
	return clean(w)
}

// nameMax is the most bytes of a name: a namespace of 63 bytes and a pod of 253 fit.
const nameMax = 320

// clean makes a name fit to be shown: whole characters of UTF-8, none of them a control character, and at most nameMax
// bytes.
func clean(w collector.Owner) collector.Owner {
	fit := func(s string) string {
		s = strings.Map(func(r rune) rune {
			if r < ' ' || r == 0x7f || r == utf8.RuneError {
				return '?'
			}
			return r
		}, s)
		if len(s) <= nameMax {
			return s
		}
		s = s[:nameMax]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		return s
	}
	w.Name, w.Container, w.Workload, w.WorkloadKind = fit(w.Name), fit(w.Container), fit(w.Workload), fit(w.WorkloadKind)
	return w
}

// recycle takes back the numbers of owners that no flow of the ledgers has, once they get scarce.
func (l *loop) recycle() {
	if l.owners == nil || !l.owners.table.Crowded() {
		return
	}
	var used [1 << 16]bool
	for _, of := range l.ledgers {
		if of != nil {
			of.MarkOwners(&used)
		}
	}
	l.owners.table.Free(func(n collector.OwnerNumber) bool { return used[n] }, func(n collector.OwnerNumber) {
		for _, of := range l.ledgers {
			if of != nil {
				of.ForgetOwner(n)
			}
		}
	})
}
