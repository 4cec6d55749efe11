package owner

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cputime"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Config sets up a Watcher. Outer is needed.
type Config struct {
	// Outer is the network namespace in which flows leave the machine.
	Outer *netns.Handle
	// Proc is the mount point of procfs; default /proc.
	Proc string
	// Tree is where the cgroup v2 tree is mounted; default is what /proc/self/mountinfo says.
	Tree string
	// Files are where names stand.
	Files Files
	// Interval is the time from one look to the next where no flow waits for its owner; default 5 s. Looks that take long
	// come more seldom.
	Interval time.Duration
	// Share is the most of a processor that looks may take; default 0.005.
	Share float64
	// Now is the agent's clock; default a clock of its own.
	Now func() collector.Time
}

// What a Table wants of the next look.
const (
	wantCgroups = 1 << iota // a cgroup is new
	wantSockets             // conntrack shows flows of this machine's own
	wantInner               // conntrack shows flows of a namespace that several owners or containers share
	wantInodes              // sockets are in cgroups that do not tell whose they are
	wantSpaces              // conntrack shows flows of an address that may be a new namespace's
	wantOpeners             // sockets that were read for flows of conntrack are in cgroups as of wantInodes

	// patient is what only the next dump of conntrack can make use of: looks that come before its time leave it.
	patient = wantSockets | wantInner
)

// wholeEvery is how often everything is read again, however old and known.
const wholeEvery = time.Minute

// soonest is the least time from one look to the next, where flows wait for their owners.
const soonest = 500 * time.Millisecond

// Watcher looks at the machine. View may be called at any time.
type Watcher struct {
	cfg    Config
	proc   procReader
	view   atomic.Pointer[View]
	wanted atomic.Uint32
	asked  chan struct{} // holds a value once something is wanted at once
	// expected is set where a dump is, until the next look.
	expected atomic.Bool

	// What Run's goroutine owns.
	full       time.Time // of the last look at all that was wanted
	whole      time.Time // when everything was read last
	cgroups    map[uint64]Identity
	treeMax    int                  // as of treeMax
	more       bool                 // cgroups than treeMax
	gone       map[uint64]time.Time // when cgroups that are gone were seen last
	processes  map[int]*process
	namespaces map[uint64]*namespace // by netKey
	hides      map[Identity]bool     // as in View
	pauses     map[string]bool       // containers of pods whose processes all do nothing but pause
	sockets    *index
	inner      *index // of the namespaces that several owners share
	innerErr   error  // why sockets of one of them cannot be read
	inodes     *index
	// orphans are the inodes of bound sockets whose process was asked for since all was read: the kernel's have none.
	orphans  map[uint32]bool
	denied   int // processes whose descriptors may not be read
	names    names
	nameless ids                  // pods and containers that had no name when names were read last
	named    map[string]time.Time // when pods and containers were seen last: their ports outlive them
	// strange and lost are when looks were made for sockets in cgroups that the tree did not show, and open in no process
	// that was read.
	strange, lost streak
}

// streak is since when something has come again and again, and when it came last.
type streak struct{ first, last time.Time }

const (
	// streakGap is the longest time between two of a streak; flows are shown every 10 s at least.
	streakGap = 15 * time.Second
	// streakHold is how long a streak lasts before it is said: cgroups and processes come and go meanwhile.
	streakHold = 30 * time.Second
)

func (s *streak) add(now time.Time) {
	if now.Sub(s.last) > streakGap {
		s.first = now
	}
	s.last = now
}

func (s *streak) lasts(now time.Time) bool {
	return s.last.Sub(s.first) > streakHold && now.Sub(s.last) <= streakGap
}

// New returns a Watcher. It starts nothing.
func New(cfg Config) *Watcher {
	cfg.Proc = cmp.Or(cfg.Proc, "/proc")
	cfg.Interval = cmp.Or(cfg.Interval, 5*time.Second)
	cfg.Share = cmp.Or(cfg.Share, 0.005)
	cfg.Files = cfg.Files.withDefaults()
	if cfg.Now == nil {
		cfg.Now = collector.Clock()
	}
	if cfg.Tree == "" {
		if f, err := os.Open("/proc/self/mountinfo"); err == nil {
			if mounts := unifiedMounts(f); len(mounts) > 0 {
				cfg.Tree = mounts[0]
			}
			_ = f.Close()
		}
	}
	w := &Watcher{
		cfg: cfg, proc: procReader{cfg.Proc}, gone: map[uint64]time.Time{}, named: map[string]time.Time{},
		processes: map[int]*process{}, namespaces: map[uint64]*namespace{}, names: newNames(), asked: make(chan struct{}, 1),
		treeMax: treeMax, orphans: map[uint32]bool{},
	}
	w.wanted.Store(wantCgroups | wantSockets | wantInodes)
	return w
}

func (w *Watcher) outer() uint64 { return w.cfg.Outer.Inode() }

// View returns what the last look saw, nil before the first.
func (w *Watcher) View() *View { return w.view.Load() }

// want asks for more in the next look, and for that look soon if what is not patient.
func (w *Watcher) want(what uint32) {
	if w.wanted.Load()&what == what {
		return
	}
	w.wanted.Or(what)
	if what&^patient != 0 {
		w.ask()
	}
}

// Expect says that a dump of conntrack is near: it asks for a look if flows of the last one wait for their owners, so
// that this one gives them. It may be called at any time.
func (w *Watcher) Expect() {
	if w.wanted.Load()&patient != 0 {
		w.expected.Store(true)
		w.ask()
	}
}

func (w *Watcher) ask() {
	select {
	case w.asked <- struct{}{}:
	default:
	}
}

// Run looks again and again until ctx is cancelled; the first look is the caller's. It looks at once where a dump is
// expected and flows wait for their owners, or where cgroups or namespaces are new, and never sooner than Share allows
// after a look that took long.
func (w *Watcher) Run(ctx context.Context) error {
	least := soonest
	for {
		early := time.NewTimer(least)
		late := time.NewTimer(max(least, w.cfg.Interval))
		all, err := w.wait(ctx, early.C, late.C)
		early.Stop()
		late.Stop()
		if err != nil {
			return err
		}
		var meter cputime.Meter // on the clock a busy machine would have flows wait for minutes
		meter.Resume()
		if all || time.Since(w.full) >= w.cfg.Interval {
			w.Look(ctx)
		} else {
			w.look(ctx, w.wanted.And(patient)&^patient)
		}
		meter.Pause()
		least = max(soonest, time.Duration(float64(meter.Take())/w.cfg.Share))
	}
}

// wait returns at early if something is wanted at once by then, else once it is, or at late. all says that it is time
// for all that is wanted.
func (w *Watcher) wait(ctx context.Context, early, late <-chan time.Time) (all bool, err error) {
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-early:
	}
	select {
	case <-ctx.Done():
		return false, context.Cause(ctx)
	case <-w.asked:
		return w.expected.Swap(false), nil
	case <-late:
		return true, nil
	}
}

// Look looks once at all that is wanted and shows what it saw. Only Run's goroutine may call it while Run runs.
func (w *Watcher) Look(ctx context.Context) {
	select {
	case <-w.asked:
	default:
	}
	w.full = time.Now()
	w.look(ctx, w.wanted.Swap(0))
}

func (w *Watcher) look(ctx context.Context, wanted uint32) {
	now, began := time.Now(), w.cfg.Now()
	whole := now.Sub(w.whole) >= wholeEvery
	if whole {
		w.whole = now
		clear(w.orphans)
	}
	if wanted&wantCgroups != 0 {
		w.strange.add(now)
	}
	if wanted&(wantInodes|wantOpeners) != 0 {
		w.lost.add(now)
	}
	if wanted&wantCgroups != 0 || whole {
		w.readTree(now)
	}
	w.readProcesses(whole)
	w.readNames(now, whole)
	v := &View{Began: began, Cgroups: w.cgroups, Own: w.ownAddresses(), Names: w.names.of, Hides: w.hides}
	w.combine(v)
	if wanted&(wantInodes|wantOpeners) != 0 {
		w.readInodes()
	}
	v.Inodes = w.inodes
	if wanted&wantSockets != 0 {
		next := newIndexer()
		if err := w.readSockets(ctx, v, w.cfg.Outer, nil, next, wantSockets); err == nil {
			w.sockets = next.done()
		}
	}
	w.readShared(ctx, v, wanted)
	v.Sockets, v.Inner = w.sockets, w.inner
	v.Missing = w.missing(now)
	w.view.Store(v)
}

// readTree reads the cgroup v2 tree.
func (w *Watcher) readTree(now time.Time) {
	if w.cfg.Tree == "" {
		return
	}
	next := make(map[uint64]Identity, len(w.cgroups))
	w.more = walkTree(w.cfg.Tree, w.treeMax, func(id uint64, path string) {
		next[id] = ParsePath(path)
		delete(w.gone, id)
	})
	for id, was := range w.cgroups {
		if _, there := next[id]; there {
			continue
		}
		since, known := w.gone[id]
		switch {
		case !known:
			w.gone[id] = now
		case now.Sub(since) > goneFor:
			delete(w.gone, id)
			continue
		}
		next[id] = was
	}
	w.cgroups = next
}

// ownAddresses returns the addresses of the outer namespace.
func (w *Watcher) ownAddresses() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	_ = w.cfg.Outer.Do(func() error { // without the right to enter, none is known
		list, err := net.InterfaceAddrs()
		for _, a := range list {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				out[p.Addr().Unmap()] = true
			}
		}
		return err
	})
	return out
}

// missing says what the Watcher cannot find out.
func (w *Watcher) missing(now time.Time) (out []string) {
	switch {
	case w.cfg.Tree == "":
		out = append(out, "no cgroup v2 tree is mounted: owners are found by the processes of each network namespace alone, "+
			"and sockets of this machine's own by the process that has them open")
	case w.strange.lasts(now):
		out = append(out, "sockets are in cgroups that "+w.cfg.Tree+" does not show, so their owners are unknown: the "+
			"agent sees a part of the tree; mount the machine's /sys/fs/cgroup into its container")
	}
	if w.more {
		out = append(out, fmt.Sprintf("there are more than %d cgroups: the owners of those beyond are unknown", w.treeMax))
	}
	if w.denied > 0 && w.lost.lasts(now) {
		out = append(out, "sockets of processes that are in no unit have no owner: to see which process has a socket open "+
			"needs CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE")
	}
	if w.innerErr != nil {
		out = append(out, "flows of a pod with several containers are known by the pod alone, and flows of a namespace "+
			"that several containers share have no owner: "+w.innerErr.Error())
	}
	for _, p := range w.processes { // a container without any opens no flow
		id := p.id.Container
		if p.id.Kind == collector.KindContainer {
			id = p.id.ID
		}
		if w.nameless.containers[id] && !w.pauses[id] {
			return append(out, "containers are shown by their ID where the "+
				"kubelet's links in "+w.cfg.Files.ContainerLogs+" do not name them: "+
				"the files of Podman, CRI-O, Docker and containerd, which take root or CAP_DAC_READ_SEARCH to read, do "+
				"not name them either")
		}
	}
	return out
}
