package rules_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"
)

// The incident: what nodes hold in all, from rest to exhaustion and back. Each phase is long enough for all series to be
// level: for what is recorded most seldom, every 224 s here, to be recorded once more after the last node came or came back,
// though engines start again when it is due.
// In the last one every page ends: that of failed opens stays for two minutes after the two in which they are seen to fail. And at
// its end a window of ten minutes has the second cluster from its beginning on.
const (
	engineScrape = 5 * time.Second
	engineFleet  = 7 * time.Second
	enginePage   = 5 * time.Second

	// Node 4 vanishes for seven minutes; node 5 comes late with failures of last month; a second cluster comes later still, with
	// such failures on all its nodes; node 3 starts again, and its counters with it; engines start again.
	vanishes, returns = 40 * time.Second, 40*time.Second + 7*time.Minute
	comesLate         = 50 * time.Second
	secondCluster     = 800 * time.Second
	enginesRestart    = 840 * time.Second
	nodeRestarts      = 880 * time.Second
)

type incidentPhase struct {
	name       string
	end        time.Duration
	held, mean float64 // of each node, of 1000 ports of a gateway and of 300 of their own
	likely     float64
	failing    bool
}

var incidentPhases = []incidentPhase{
	{"rest", 360 * time.Second, 100, 110, 0, false},
	{"rise", 780 * time.Second, 150, 230, 0.6, false},
	{"exhausted", 1120 * time.Second, 190, 230, 0.9, true},
	{"relief", 1460 * time.Second, 80, 80, 0, false},
}

// failsFrom and failsUntil are when flows fail on node 1.
var failsFrom, failsUntil = incidentPhases[1].end, incidentPhases[2].end

// Nodes 1 to 6 are of cluster c1, nodes 7 and 8 of c2. Node 2 has a clock that is 90 s behind, node 6 one that is 90 s ahead.
const engineNodes = 8

func clusterOf(node int) string {
	if node > 6 {
		return "c2"
	}
	return "c1"
}

// incident serves the nodes of the fleet.
type incident struct {
	mu    sync.Mutex
	start time.Time
}

// begin is when the engines are up.
func (f *incident) begin() { f.mu.Lock(); f.start = time.Now(); f.mu.Unlock() }

func (f *incident) since() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.start)
}

func (f *incident) reach(t *testing.T, at time.Duration) {
	t.Helper()
	select {
	case <-time.After(at - f.since()):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// away says whether a node does not answer.
func away(node int, now time.Duration) bool {
	switch node {
	case 4:
		return now > vanishes && now < returns
	case 5:
		return now < comesLate
	}
	return clusterOf(node) == "c2" && now < secondCluster
}

func (f *incident) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var node int
	if _, err := fmt.Sscanf(r.URL.Path, "/node/%d", &node); err != nil {
		http.NotFound(w, r)
		return
	}
	now := f.since()
	if away(node, now) {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	p := incidentPhases[len(incidentPhases)-1]
	for _, q := range slices.Backward(incidentPhases) {
		if now < q.end {
			p = q
		}
	}
	if clusterOf(node) == "c2" {
		p.likely = 0
	}
	uptime := now
	if node == 3 && now > nodeRestarts {
		uptime -= nodeRestarts
	}
	failures := 0.0
	if node == 5 || clusterOf(node) == "c2" {
		failures = 9
	}
	if node == 1 && now > failsFrom {
		failures += 5 * (min(now, failsUntil) - failsFrom).Seconds()
	}
	clock := float64(time.Now().Unix())
	switch node {
	case 2:
		clock -= 90
	case 6:
		clock += 90
	}
	var b bytes.Buffer
	put := func(name, labels string, v float64) { fmt.Fprintf(&b, "%s{%s} %g\n", name, labels, v) }
	const nat, own = `budget="nat"`, `budget="lb"`
	put("snat_budget_info", nat+`,model="aws-nat-gateway",scope="shared",pool="web",gateway="nat-1"`, 1)
	put("snat_budget_info", own+`,model="azure-lb-2018",scope="node",pool="web",gateway=""`, 1)
	for budget, ports := range map[string]float64{nat: 1000, own: 300} {
		put("snat_budget_contradicted", budget, 0)
		put("snat_vips", budget, 1)
		put("snat_pool_nodes", budget, 6)
		writeBudget(put, budget+`,protocol="tcp"`, ports, p, math.Floor(20*uptime.Seconds()))
	}
	put("snat_open_failures_total", own+`,protocol="tcp",cause="ports"`, failures)
	put("snat_open_failures_total", nat+`,protocol="tcp",cause="unanswered"`, 9)
	space := nat + `,gateway="nat-1",protocol="tcp",vip="",destination="203.0.113.7:443"`
	mine := own + `,gateway="",protocol="tcp",vip="",destination="203.0.113.9:443"`
	for _, of := range []string{space, mine} {
		put("snat_ports_held", of, p.held)
		put("snat_ports_live", of, p.held/10)
		put("snat_ports_cooling", of, p.held*9/10)
		put("snat_time_to_exhaustion_seconds", of, 100)
	}
	excess := func(name, of string, v float64) {
		if node != 3 { // an agent of before there was any
			put(name, of, v-41) // a sixth of a quarter of 1000 ports
		}
	}
	excess("snat_excess_ports_held", space, p.held)
	// What is recorded seldom is of another moment on each engine: in proportion to the mean, and as far off it, at all times.
	for h, off := range map[string]float64{"1m": -5, "5m": 0, "15m": 10, "1h": 20} {
		mean := p.mean + off
		at := fmt.Sprintf(`,horizon="%s"`, h)
		put("snat_forecast_ports_mean", space+at, mean)
		excess("snat_excess_forecast_ports_mean", space+at, mean)
		put("snat_forecast_ports_variance", space+at, 2*mean)
		if p.likely > 0 {
			put("snat_likely_exhaustion_probability", mine+at, p.likely)
		}
		put("snat_all_forecast_ports_mean", nat+`,protocol="tcp"`+at, mean)
		put("snat_all_forecast_ports_variance", nat+`,protocol="tcp"`+at, 2*mean)
		put("snat_exhaustion_probability_max", nat+`,protocol="tcp"`+at, 0.01)
	}
	put("snat_ledger_exact", `netns="1"`, 1)
	put("snat_events_lost_total", `netns="1"`, 7)
	put("snat_snapshot_timestamp_seconds", ``, clock)
	put("snat_snapshot_age_seconds", ``, 1)
	put("snat_agent_build_info", `version="1"`, 1)
	_, _ = io.Copy(w, &b)
}

// writeBudget writes what a node tells of one budget and protocol. Flows live for 27 s and their ports cool for 240 s.
func writeBudget(put func(name, labels string, v float64), of string, ports float64, p incidentPhase, opened float64) {
	put("snat_budget_ports", of, ports)
	put("snat_budget_effective_ports", of, ports)
	put("snat_busiest_ports_held", of, p.held)
	put("snat_all_ports_held", of, p.held)
	put("snat_opening_stalled", of, 0)
	put("snat_opening_stalled_at_ceiling", of, 0)
	put("snat_folded_ports_held_max", of, 3)
	put("snat_flows_opened_total", of, opened)
	put("snat_flows_closed_total", of+`,reason="fin"`, opened)
	for le, share := range map[string]float64{"16": 0, "32": 1, "+Inf": 1} {
		put("snat_lifetime_seconds_bucket", of+fmt.Sprintf(",le=%q", le), share*opened)
	}
	put("snat_lifetime_seconds_sum", of, 27*opened)
	put("snat_lifetime_seconds_count", of, opened)
	put("snat_hold_seconds_sum", of, 267*opened)
	put("snat_hold_seconds_count", of, opened)
}

// debianPrometheus is the path of the system's own, empty where there is none.
func debianPrometheus() string {
	path, err := exec.LookPath("prometheus")
	if err != nil {
		return ""
	}
	return path
}
