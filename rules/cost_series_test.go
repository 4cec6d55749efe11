package rules_test

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

const (
	scrapeEvery = 15 * time.Second
	// A query reads a chunk from its start, where 120 samples have room: half of it on average.
	fillBehind = 8 * time.Minute
	// Prometheus takes no sample that is more than ten minutes ahead.
	fillAhead = 8 * time.Minute
	// Prometheus keeps a place for each sample of a series that one scrape brings.
	fillSlice = 2 * time.Minute
	partEvery = 5 * time.Second
	fillParts = int((fillBehind + fillAhead) / fillSlice)
	// instance begins the names of what is recorded of each node.
	instance = "instance:"
)

// fleet serves what Prometheus would have scraped from its nodes by now and what it will, with timestamps: to each
// node's first scrape what rules look back an hour to, to the next ones a part each, then nothing.
type fleet struct {
	start time.Time
	// failing is on how many nodes ports run out.
	failing int
	// served counts a node's scrapes; past and done are nodes that were served the first and all parts.
	served     []atomic.Int32
	past, done atomic.Int32
}

func newFleet(nodes, failing int) *fleet {
	return &fleet{start: time.Now().Truncate(scrapeEvery), failing: failing, served: make([]atomic.Int32, nodes)}
}

// checkTime ends the benchmark once the last sample is past.
func (f *fleet) checkTime(b *testing.B) {
	b.Helper()
	if time.Now().After(f.start.Add(fillAhead)) {
		b.Fatal("the machine is too slow: the series ended before the measurement")
	}
}

func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	node, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/node/"))
	if err != nil || node < 0 || node >= len(f.served) {
		http.NotFound(w, r)
		return
	}
	served, failing := &f.served[node], node < f.failing
	out := bufio.NewWriterSize(w, 1<<16)
	switch part := int(served.Load()); {
	case part == 0:
		writeNode(&series{w: out, node: node, from: f.start.Add(-66 * time.Minute), to: f.start.Add(-50 * time.Minute), past: true, failing: failing, seed: uint64(node)})
		served.Add(1)
		f.past.Add(1)
	// An hour before the latest sample Prometheus takes none: the past of all nodes comes first.
	case part <= fillParts && int(f.past.Load()) == len(f.served):
		from := f.start.Add(-fillBehind + time.Duration(part-1)*fillSlice)
		writeNode(&series{w: out, node: node, from: from, to: from.Add(fillSlice - scrapeEvery), failing: failing, seed: uint64(node*fillParts + part)})
		if served.Add(1) == int32(fillParts)+1 {
			f.done.Add(1)
		}
	}
	_ = out.Flush() // a scrape that was given up
}

// series writes samples of one node from a time to another.
type series struct {
	w        io.Writer
	node     int
	from, to time.Time
	// past: only the recorded series, which rules look back an hour to.
	past bool
	// failing: ports to one destination run out, and flows fail.
	failing bool
	seed    uint64
	line    []byte
}

// noise is a number from 0 to 1 that looks like any other: forecasts are no whole numbers.
func (s *series) noise() float64 {
	s.seed = s.seed*6364136223846793005 + 1442695040888963407
	return float64(s.seed>>11) / (1 << 53)
}

// add writes a metric with the labels given as name, value, name, value.
func (s *series) add(name metrics.Name, value func(seconds float64) float64, labels ...string) {
	if s.past != strings.HasPrefix(string(name), instance) {
		return
	}
	id := append([]byte(name), '{')
	for i := 0; i < len(labels); i += 2 {
		id = fmt.Appendf(id, "%s=%q,", labels[i], labels[i+1])
	}
	id = append(id, "} "...)
	for at := s.from; !at.After(s.to); at = at.Add(scrapeEvery) {
		s.line = strconv.AppendFloat(append(s.line[:0], id...), value(float64(at.Unix()%86400)), 'g', -1, 64)
		s.line = strconv.AppendInt(append(s.line, ' '), at.UnixMilli(), 10)
		_, _ = s.w.Write(append(s.line, '\n'))
	}
}

// writeNode writes what an agent with 50 exported destinations behind a shared gateway serves. On one node of
// twenty exhaustion is likely enough to be told alerts, and not to raise one.
func writeNode(s *series) {
	node := s.node
	always := func(v float64) func(float64) float64 { return func(float64) float64 { return v } }
	grows := func(perSecond float64) func(float64) float64 {
		return func(t float64) float64 { return math.Floor(perSecond * t) }
	}
	varies := func(v float64) func(float64) float64 {
		return func(float64) float64 { return v * (0.9 + 0.2*s.noise()) }
	}
	counts := func(v float64) func(float64) float64 {
		return func(float64) float64 { return math.Floor(v * (0.9 + 0.2*s.noise())) }
	}
	gateway := fmt.Sprintf("nat-%d", node%4)
	protocol := []string{"budget", "nat", "protocol", "tcp"}
	s.add(metrics.BudgetInfo, always(1), "budget", "nat", "gateway", gateway, "model", "aws-nat-gateway", "pool", fmt.Sprintf("pool-%d", node%5), "scope", "shared")
	s.add(metrics.BudgetPorts, always(55000), protocol...)
	s.add(metrics.BudgetEffectivePorts, always(55000), protocol...)
	s.add(metrics.BusiestPortsHeld, counts(40), protocol...)
	s.add(metrics.FlowsOpened, grows(20), protocol...)
	s.add(metrics.OpeningStalled, always(0), protocol...)
	s.add(metrics.FoldedPortsHeldMax, always(3), protocol...)
	s.add(metrics.BudgetContradicted, always(0), "budget", "nat")
	s.add(metrics.PoolStale, always(0), "budget", "nat")
	s.add(metrics.ConfigReloadSuccess, always(1))
	for _, r := range []string{"fin", "rst", "timeout", "idle", "evicted", "unknown"} {
		s.add(metrics.FlowsClosed, grows(0.05), "budget", "nat", "protocol", "tcp", "reason", r)
	}
	for _, c := range []string{metrics.CauseUnanswered, metrics.CauseRefused, metrics.CausePorts} {
		failures := always(0)
		if s.failing && c == metrics.CausePorts {
			failures = grows(1)
		}
		s.add(metrics.OpenFailures, failures, "budget", "nat", "cause", c, "protocol", "tcp")
	}
	s.add(metrics.LedgerExact, always(1), "netns", "1")
	s.add(metrics.EventsLost, always(0), "netns", "1")
	s.add(metrics.DecodeErrors, always(0), "netns", "1", "source", "conntrack")
	s.add(metrics.ConntrackInsertFailed, always(0), "netns", "1")
	s.add(metrics.SnapshotTimestamp, func(t float64) float64 { return float64(s.from.Unix()-s.from.Unix()%86400) + t })
	s.add(metrics.AgentBuildInfo, always(1), "version", "1")
	for _, h := range metrics.HorizonValues() {
		s.add(metrics.ForecastBrierScore, varies(0.01), "budget", "nat", "horizon", h)
	}
	for _, g := range rules.Default().Groups() {
		for _, r := range g.Records {
			if strings.HasPrefix(r.Name, instance) {
				s.add(metrics.Name(r.Name), counts(1500), protocol...)
			}
		}
	}
	s.add(metrics.AllPortsHeld, counts(1500), protocol...)
	for i, h := range metrics.HorizonValues() {
		total := slices.Concat(protocol, []string{"horizon", h})
		s.add(metrics.AllForecastPortsMean, varies(1500+float64(i)), total...)
		s.add(metrics.AllForecastPortsVariance, varies(6000), total...)
		s.add(metrics.ExhaustionProbabilityMax, varies(0.01*float64(i+1)), total...)
	}
	for d := range 51 {
		space := []string{"budget", "nat", "destination", fmt.Sprintf("203.0.113.%d:443", d), "gateway", gateway, "protocol", "tcp"}
		if d == 50 {
			space[3] = metrics.DestinationOther
		}
		held := float64(40 - d/2)
		s.add(metrics.PortsHeld, counts(held), space...)
		s.add(metrics.PortsLive, counts(held/2), space...)
		s.add(metrics.PortsCooling, counts(held/2), space...)
		if d == 50 {
			continue
		}
		likely, left := 0.0, math.Inf(1)
		switch {
		case d == 0 && s.failing:
			likely, left = 0.8, 200
		case d == 0 && node%20 == 0:
			likely = 0.1
		}
		s.add(metrics.TimeToExhaustion, always(left), space...)
		for i, h := range metrics.HorizonValues() {
			ahead := slices.Concat(space, []string{"horizon", h})
			s.add(metrics.ForecastPortsMean, varies(held+float64(i)), ahead...)
			s.add(metrics.ForecastPortsVariance, varies(4*held), ahead...)
			s.add(metrics.ExhaustionProbability, varies(0.001*float64(i+1)), ahead...)
			if likely > 0 {
				s.add(metrics.LikelyExhaustion, varies(likely), ahead...)
			}
		}
	}
}
