package conntrack

import (
	"maps"
	"sync"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Stats is what a Source has done so far, and how.
type Stats struct {
	// Strategy is the one in use, Poll or Events; Why says why. Interval is the time from one dump to the next.
	Strategy Strategy
	Why      string
	Interval time.Duration
	// Cost is the strategy's CPU time, in cores; it includes the time that events take on the packet path.
	// BudgetExceeded: no strategy stays within the CPU budget, so the cheapest runs.
	Cost           float64
	BudgetExceeded bool
	// EventsError is why there can be no events (ErrEventsOff, ErrEventsMasked); nil if there can.
	EventsError error

	// Dumps counts complete dumps, Aborted those that broke off, Resyncs those that an overrun made necessary.
	// DumpError says why the last dump broke off, nil if it was complete.
	Dumps, Aborted, Resyncs uint64
	DumpError               error
	// Gap says why the last complete dump may lack flows, empty if it lacks none.
	Gap string
	// DumpSeconds is how long the last complete dump took, the sink included; DumpCPU is its
	// CPU time without the sink.
	DumpSeconds float64
	DumpCPU     time.Duration
	// Entries is the kernel's count; Flows and Translated are what the last complete dump showed.
	Entries, Flows, Translated int

	// Opened and Closed count events, Overruns how often the kernel had to drop some. Recent counts the flows
	// of complete dumps that were younger than the dump before, as far as we know.
	Opened, Closed, Overruns, Recent uint64

	// ParseErrors counts messages that could not be read and were skipped; ParseError is the last.
	ParseErrors uint64
	ParseError  error
	// UnknownAttributes counts attributes that are newer than this package.
	UnknownAttributes uint64
	// LimitsError says why some timeouts of the namespace could not be read. Times that depend on those stay unknown.
	LimitsError error
	// OtherProtocols counts the entries of the last complete dump that are neither TCP nor UDP.
	OtherProtocols map[collector.Protocol]int
}

// board is Stats for one writer and many readers.
type board struct {
	mu sync.Mutex
	s  Stats
}

func (b *board) read() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.s
	s.OtherProtocols = maps.Clone(s.OtherProtocols)
	return s
}

func (b *board) write(f func(*Stats)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.s)
}

// parsed moves what parsing counted from f to s.
func (s *Stats) parsed(f *found) {
	s.UnknownAttributes += f.unknown
	s.ParseErrors += f.parseErrors
	if f.parseError != nil {
		s.ParseError = f.parseError
	}
	f.unknown, f.parseErrors, f.parseError = 0, 0, nil
}

// dumped notes a complete dump.
func (s *Stats) dumped(f *found, took, cpu time.Duration) {
	s.Dumps++
	s.DumpError = nil
	s.DumpSeconds, s.DumpCPU = took.Seconds(), cpu
	s.Entries, s.Flows, s.Translated = f.entries, f.flows, f.translated
	s.Recent += uint64(f.recent)
	s.OtherProtocols = map[collector.Protocol]int{}
	for p, n := range f.others {
		if n > 0 {
			s.OtherProtocols[collector.Protocol(p)] = int(n)
		}
	}
}
