package rules_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/rules"
)

// TestEngines plays one incident of a small fleet to every engine at once, each with the rules that are written for it, and
// compares what they record and which pages they send, and when. ENGINES names the folder of their programs; .ci/engines
// builds them and runs this. It takes the minutes that the incident takes.
func TestEngines(t *testing.T) {
	programs := os.Getenv("ENGINES")
	if programs == "" {
		t.Skip("ENGINES names no folder of programs: .ci/engines builds them")
	}
	f := &incident{start: time.Now()}
	fleet := httptest.NewServer(f)
	defer fleet.Close()
	all := startEngines(t, programs, strings.TrimPrefix(fleet.URL, "http://"))
	f.begin()
	reference := all[0]
	for _, p := range incidentPhases {
		f.reach(t, p.end-10*time.Second)
		values := map[string]map[string]float64{}
		for _, e := range all {
			values[e.name] = e.recorded(t)
		}
		for _, e := range all[1:] {
			compareValues(t, p.name, reference, e, values[reference.name], values[e.name])
		}
	}
	for _, e := range all {
		t.Logf("%-22s pages after the start: %s", e.name, e.pages(f.start))
	}
	for _, e := range all[1:] {
		comparePages(t, f, reference, e)
	}
}

// The incident: what nodes hold in all, from rest to exhaustion and back, each long enough for all series to be level.
const (
	engineScrape = 5 * time.Second
	engineFleet  = 15 * time.Second
	enginePage   = 5 * time.Second
	steadyFor    = 100 * time.Second
)

type incidentPhase struct {
	name       string
	end        time.Duration
	held, mean float64 // of each of five nodes, of 1000 ports of a gateway and of 300 of their own
	likely     float64
	failing    bool
}

var incidentPhases = []incidentPhase{
	{"rest", 2 * steadyFor, 100, 110, 0, false},
	{"rise", 3 * steadyFor, 150, 230, 0.6, false},
	{"exhausted", 4 * steadyFor, 210, 230, 0.9, true},
	{"relief", 6 * steadyFor, 80, 80, 0, false},
}

// incident serves the nodes of the fleet. Node 4 vanishes for a minute, node 5 comes late with
// failures of last month, node 3 starts again and its counters with it, node 2 has a clock that is 90 s behind.
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

const engineNodes = 5

func (f *incident) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var node int
	if _, err := fmt.Sscanf(r.URL.Path, "/node/%d", &node); err != nil {
		http.NotFound(w, r)
		return
	}
	now := f.since()
	if node == 4 && now > steadyFor/2 && now < steadyFor/2+time.Minute || node == 5 && now < steadyFor/2 {
		http.Error(w, "away", http.StatusServiceUnavailable)
		return
	}
	p := incidentPhases[len(incidentPhases)-1]
	for _, q := range slices.Backward(incidentPhases) {
		if now < q.end {
			p = q
		}
	}
	uptime := now
	if node == 3 && now > steadyFor*7/2 {
		uptime -= steadyFor * 5 / 2
	}
	failures := 0.0
	if node == 5 {
		failures = 9
	}
	if p.failing && node == 1 {
		failures += 5 * (now - 3*steadyFor).Seconds()
	} else if node == 1 && now > 4*steadyFor {
		failures += 5 * steadyFor.Seconds()
	}
	clock := float64(time.Now().Unix())
	if node == 2 {
		clock -= 90
	}
	var b bytes.Buffer
	put := func(name, labels string, v float64) { fmt.Fprintf(&b, "%s{%s} %g\n", name, labels, v) }
	const nat, own = `budget="nat"`, `budget="lb"`
	put("snat_budget_info", nat+`,model="aws-nat-gateway",scope="shared",pool="web",gateway="nat-1"`, 1)
	put("snat_budget_info", own+`,model="azure-lb-2018",scope="node",pool="web",gateway=""`, 1)
	for budget, ports := range map[string]float64{nat: 1000, own: 300} {
		of := budget + `,protocol="tcp"`
		put("snat_budget_ports", of, ports)
		put("snat_budget_effective_ports", of, ports)
		put("snat_busiest_ports_held", of, p.held)
		put("snat_all_ports_held", of, p.held)
		put("snat_opening_stalled", of, 0)
		put("snat_opening_stalled_at_ceiling", of, 0)
		put("snat_folded_ports_held_max", of, 3)
		put("snat_flows_opened_total", of, math.Floor(20*uptime.Seconds()))
		put("snat_budget_contradicted", budget, 0)
	}
	put("snat_open_failures_total", own+`,protocol="tcp",cause="ports"`, failures)
	put("snat_open_failures_total", nat+`,protocol="tcp",cause="unanswered"`, 9)
	space := nat + `,gateway="nat-1",protocol="tcp",vip="",destination="203.0.113.7:443"`
	put("snat_ports_held", space, p.held)
	// What is recorded seldom is of another moment on each engine: in proportion to the mean, and as far off it, at all times.
	for h, off := range map[string]float64{"1m": -5, "5m": 0, "15m": 10, "1h": 20} {
		mean := p.mean + off
		at := fmt.Sprintf(`,horizon="%s"`, h)
		put("snat_forecast_ports_mean", space+at, mean)
		put("snat_forecast_ports_variance", space+at, 2*mean)
		if p.likely > 0 {
			put("snat_likely_exhaustion_probability", own+`,gateway="",protocol="tcp",vip="",destination="203.0.113.9:443"`+at, p.likely)
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

// engine is one that evaluates the rules: where it is asked, and the pages that it sent.
type engine struct {
	name string
	// query is the address below which its API answers.
	query string
	alert *alertSink
}

// alertSink is an Alertmanager that notes when each page was first and last sent as firing.
type alertSink struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string][2]time.Time // when it began, when it ended: zero while it fires
}

func newSink(t *testing.T) *alertSink {
	t.Helper()
	s := &alertSink{seen: map[string][2]time.Time{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var alerts []struct {
			Labels map[string]string
			EndsAt time.Time
		}
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		now := time.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, a := range alerts {
			if a.Labels["severity"] != "critical" {
				continue
			}
			key := strings.Join([]string{a.Labels["alertname"], a.Labels["instance"], a.Labels["gateway"], a.Labels["evidence"]}, " ")
			when, known := s.seen[key]
			switch ended := !a.EndsAt.IsZero() && !a.EndsAt.After(now); {
			case !ended && (!known || !when[1].IsZero()):
				if !known {
					when[0] = now
				}
				when[1] = time.Time{}
			case ended && known && when[1].IsZero():
				when[1] = now
			}
			s.seen[key] = when
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (e *engine) sent() map[string][2]time.Time {
	e.alert.mu.Lock()
	defer e.alert.mu.Unlock()
	return maps.Clone(e.alert.seen)
}

func (e *engine) pages(start time.Time) string {
	var out []string
	sent := e.sent()
	for _, key := range slices.Sorted(maps.Keys(sent)) {
		end := "fires"
		if !sent[key][1].IsZero() {
			end = sent[key][1].Sub(start).Round(time.Second).String()
		}
		out = append(out, fmt.Sprintf("%s %s to %s", strings.TrimSpace(key), sent[key][0].Sub(start).Round(time.Second), end))
	}
	return strings.Join(out, "; ")
}

// recorded returns what the engine has recorded, by series.
func (e *engine) recorded(t *testing.T) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, g := range rules.Default().Groups() {
		for _, r := range g.Records {
			var answer struct {
				Data struct {
					Result []struct {
						Metric map[string]string
						Value  [2]any
					}
				}
			}
			body := fetch(t, e.query+"/api/v1/query?latency_offset=1ms&nocache=1&query="+url.QueryEscape(r.Name))
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatalf("%s: %v: %s", e.name, err, body)
			}
			for _, s := range answer.Data.Result {
				delete(s.Metric, "replica")
				var v float64
				if _, err := fmt.Sscan(fmt.Sprint(s.Value[1]), &v); err != nil {
					t.Fatal(err)
				}
				out[fmt.Sprint(s.Metric)] = v
			}
		}
	}
	return out
}

func fetch(t *testing.T, address string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %s", address, resp.Status, err, body)
	}
	return body
}

// notAtOnce are rates and averages, whose windows reach back before the start and into gaps, where Prometheus extrapolates to
// the whole window and VictoriaMetrics divides by what it saw; and what is recorded seldom, at another moment by each.
var notAtOnce = regexp.MustCompile(`:rate|:avg|:seldom_sum|gateway:snat_forecast_ports_variance:sum`)

// compareValues reports series that differ by more than a hundredth, and those that one engine has alone.
func compareValues(t *testing.T, phase string, a, b *engine, want, got map[string]float64) {
	t.Helper()
	if len(want) == 0 {
		t.Errorf("%s: %s recorded nothing", phase, a.name)
	}
	worst, compared := 0.0, 0
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			t.Errorf("%s: %s has no %s", phase, b.name, key)
			continue
		}
		if notAtOnce.MatchString(key) {
			continue
		}
		compared++
		if g == w || math.Abs(g-w) < 1e-9 {
			continue
		}
		off := math.Abs(g-w) / max(math.Abs(w), 1e-9)
		worst = max(worst, off)
		if off > 0.01 {
			t.Errorf("%s: %s: %s %g, %s %g", phase, key, a.name, w, b.name, g)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s has %s, which %s has not", phase, b.name, key, a.name)
		}
	}
	t.Logf("%s: %s and %s: %d series, at most %.2g %% apart", phase, a.name, b.name, compared, 100*worst)
}

// comparePages reports pages of one engine alone, and those that b sent more than an interval later, or ended.
func comparePages(t *testing.T, f *incident, a, b *engine) {
	t.Helper()
	want, got := a.sent(), b.sent()
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			t.Errorf("%s did not send %s", b.name, key)
			continue
		}
		// A rule may be an interval behind what it reads, and both are behind the scrape.
		const slack = engineFleet + engineScrape + 5*time.Second
		if late := g[0].Sub(w[0]); late > slack || late < -slack {
			t.Errorf("%s: %s at %s, %s at %s", key, a.name, w[0].Sub(f.start), b.name, g[0].Sub(f.start))
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s alone sent %s", b.name, key)
		}
	}
}
