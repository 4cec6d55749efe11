package metrics

import (
	"slices"
	"strconv"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// View is all that one scrape shows. Like the snapshot in it, it is immutable
// once it has been handed out.
type View struct {
	// Snapshot is nil until the ledger's first tick.
	Snapshot *detector.Snapshot
	// Age is how old Snapshot is, by the agent's monotonic clock.
	Age time.Duration
	// At is when the snapshot was taken, by the wall clock of the moment in which it was published: the
	// snapshot's own time does not follow a step of the wall clock.
	At time.Time
	// Outer are the network namespaces in which flows leave the machine. They are
	// exported by inode number, all others together as netns="other": there may be
	// hundreds, and they come and go.
	Outer   []uint64
	Sources []Source
	// Kernel has the conntrack counters of outer namespaces, where conntrack is read.
	Kernel []Kernel
	// Allowances are EC2's own connection tracking of this instance, by interface; none on other machines.
	Allowances []Allowance
	// Causes are those whose sensor works; Stalled says so of OpeningStalled.
	Causes  Causes
	Stalled bool
	// PoolStale has an entry per budget whose pool size or VIPs are watched: true
	// while the last good ones stand in for what could not be read.
	PoolStale map[string]bool
	// NATRules counts the NAT rules of this machine, nil where they are not looked at or cannot be read.
	NATRules *NATRules
	// Measures returns what would help a budget, by how much. It is called at each scrape; nil where nobody knows.
	Measures func(*detector.BudgetSnapshot) []Measure
	// CPUExceeded: the process took more CPU than its budget, or the sources need more to stay exact.
	CPUExceeded bool
	Reload      Reload
	Build       Build
}

// Causes are causes of failed opens, by who gives out the ports: a NAT further out, the NAT of this machine, or its
// sockets. Each is seen by another sensor.
type Causes struct{ Further, Here, Local []string }

// Of returns the causes of budget b.
func (c *Causes) Of(b *budget.Budget) []string {
	switch {
	case b.Local:
		return c.Local
	case b.Translated:
		return c.Here
	}
	return c.Further
}

// Measure is what would help a budget that is near its end.
type Measure struct {
	Name  string // a few words: "another VIP"
	Ports int    // that it adds to each port space, above 0
}

// Source is one source in one namespace.
type Source struct {
	Netns uint64 `json:"netns"`
	// Name is conntrack or sockets, Strategy poll or events (conntrack only).
	Name     string `json:"source"`
	Strategy string `json:"strategy,omitempty"`
	// Why the source was chosen, for a reader.
	Why          string `json:"why,omitempty"`
	DecodeErrors uint64 `json:"decode_errors"`
	// Dump is how long the last complete dump took, 0 before the first.
	Dump time.Duration `json:"-"`
}

// Kernel is what the kernel itself counts in one namespace.
type Kernel struct {
	collector.Counters
	// EntriesMax is as in collector.Limits.
	EntriesMax int
	// SecondsToFull is when Entries reach EntriesMax at the pace of the last minutes: 0 now, +Inf not within an hour. It
	// holds if Forecast is set.
	SecondsToFull float64
	Forecast      bool
	// InsertFailedRate is how many flows a second were not inserted in the last minutes, 0 where too little is known.
	InsertFailedRate float64
	// Counted is false where the statistics could not be read; Entries may be
	// known all the same.
	Counted bool
}

// Fill returns the share of its limit that the table holds, 0 for a table without a limit.
func (k *Kernel) Fill() float64 {
	if k.EntriesMax <= 0 {
		return 0
	}
	return float64(k.Entries) / float64(k.EntriesMax)
}

// Allowance is EC2's own connection tracking of one interface. Known says that it tells how much is available.
type Allowance struct {
	Interface           string
	Available, Exceeded uint64
	Known               bool
	// SecondsToExhaustion is when nothing is available at the pace of the last minutes: 0 now, +Inf not within an hour.
	// It holds if Forecast is set.
	SecondsToExhaustion float64
	Forecast            bool
}

// NATRules counts rules that change the source of flows: those that budgets are made of, those that are not
// understood, and those that rules before them leave no flow.
type NATRules struct{ Read, NotRead, Shadowed int }

// Reload says how the last load of the config went.
type Reload struct {
	OK bool
	// At is when a config was last loaded.
	At time.Time
}

// Build names the binary.
type Build struct {
	Version, Revision, GoVersion string
}

// netns returns the label value of a namespace.
func (v *View) netns(inode uint64) string {
	if slices.Contains(v.Outer, inode) {
		return strconv.FormatUint(inode, 10)
	}
	return NetnsOther
}

type namedNetns struct {
	netns string
	detector.NetnsSnapshot
}

// namespaces returns the outer namespaces and the sum of all others, which is
// exact if each of them is.
func (v *View) namespaces() []namedNetns {
	var out []namedNetns
	for _, n := range v.Snapshot.Netns {
		name := v.netns(n.Netns)
		i := slices.IndexFunc(out, func(o namedNetns) bool { return o.netns == name })
		if i < 0 {
			out = append(out, namedNetns{name, n})
			continue
		}
		o := &out[i]
		o.Exact = o.Exact && n.Exact
		o.Flows += n.Flows
		o.OtherProtocols += n.OtherProtocols
		o.EventsLost += n.EventsLost
		o.Resyncs += n.Resyncs
		o.Mismatches += n.Mismatches
	}
	return out
}

type namedSource struct {
	netns string
	Source
}

// sources returns one source per namespace label, name and strategy. Of dumps
// that share a label the longest is shown.
func (v *View) sources() []namedSource {
	var out []namedSource
	for _, s := range v.Sources {
		name := v.netns(s.Netns)
		i := slices.IndexFunc(out, func(o namedSource) bool {
			return o.netns == name && o.Name == s.Name
		})
		if i < 0 {
			out = append(out, namedSource{name, s})
			continue
		}
		out[i].DecodeErrors += s.DecodeErrors
		out[i].Dump = max(out[i].Dump, s.Dump)
	}
	return out
}
