package rules_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/rules"
)

// TestEngines plays one incident of a small fleet to every engine at once, each with the rules that are written for it, and
// compares what they record and which pages they send, and when, and what commands read of them. ENGINES names the folder of
// their programs; .ci/engines builds them and runs this. It takes the minutes that the incident takes.
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
	restarted := make(chan error, 1)
	go func() {
		time.Sleep(enginesRestart - f.since())
		restarted <- restart(all)
	}()
	reference, done, known := all[0], map[string]bool{}, map[string]bool{}
	for _, p := range incidentPhases {
		// Asked of a moment that is past, so that it does not matter how soon each engine writes and answers.
		f.reach(t, p.end)
		values := map[string]map[string]float64{}
		for _, e := range all {
			values[e.name] = e.recorded(t, f.start.Add(p.end-10*time.Second))
		}
		for _, e := range all[1:] {
			compareValues(t, p.name, reference, e, values[reference.name], values[e.name], done)
		}
		for key := range values[reference.name] {
			known[key] = true
		}
	}
	if err := <-restarted; err != nil {
		t.Error(err)
	}
	for key := range known {
		if !done[key] {
			t.Errorf("%s was compared in no phase", key)
		}
	}
	for _, e := range all {
		t.Logf("%-22s pages after the start: %s", e.name, e.pages(f.start))
	}
	for _, e := range all[1:] {
		comparePages(t, f, reference, e)
		compareCommands(t, reference, e)
	}
}

// restart starts engines again, all at once.
func restart(all []*engine) error {
	var each sync.WaitGroup
	errs := make([]error, len(all))
	for i, e := range all {
		each.Go(func() {
			for _, p := range e.restart {
				errs[i] = errors.Join(errs[i], p.Restart())
			}
		})
	}
	each.Wait()
	return errors.Join(errs...)
}

// recorded returns what the engine had recorded at a moment, by series.
func (e *engine) recorded(t *testing.T, at time.Time) map[string]float64 {
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
			body := fetch(t, fmt.Sprintf("%s/api/v1/query?latency_offset=1ms&nocache=1&time=%d&query=%s", e.query, at.Unix(),
				url.QueryEscape(r.Name)))
			if err := json.Unmarshal(body, &answer); err != nil {
				t.Fatalf("%s: %v: %s", e.name, err, body)
			}
			for _, s := range answer.Data.Result {
				delete(s.Metric, "replica")
				delete(s.Metric, "ruler")
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

// tolerance is how far two engines may be apart in a recorded series at the end of a phase beside a hundredth of its value. ok is
// false where they are not compared then. Nothing can be said of rates before all nodes have been there for the whole of a window:
// Prometheus extrapolates to it, and VictoriaMetrics divides by what it saw. The last phase is long enough. An average over ten
// minutes is of the same ten minutes but for the interval at which it is recorded, in which what is held may have changed from the
// most to the least.
func tolerance(phase, series string) (beside float64, ok bool) {
	const window, every = 10 * time.Minute, 4 * engineFleet
	most, least := 0.0, math.Inf(1)
	for _, p := range incidentPhases {
		most, least = max(most, p.held), min(least, p.held)
	}
	switch {
	case strings.Contains(series, ":rate"):
		return 0, phase == incidentPhases[len(incidentPhases)-1].name
	case strings.Contains(series, ":avg") && phase != incidentPhases[0].name:
		return (most - least) * every.Seconds() / window.Seconds(), true
	}
	return 0, true
}

// compareValues reports series that differ by more than their tolerance, and those that one engine has alone. It adds those that it
// compares to done.
func compareValues(t *testing.T, phase string, a, b *engine, want, got map[string]float64, done map[string]bool) {
	t.Helper()
	if len(want) == 0 {
		t.Errorf("%s: %s recorded nothing", phase, a.name)
	}
	worst, which, compared := 0.0, "", 0
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			t.Errorf("%s: %s has no %s", phase, b.name, key)
			continue
		}
		beside, ok := tolerance(phase, key)
		if !ok {
			continue
		}
		compared++
		done[key] = true
		if g == w || math.Abs(g-w) < 1e-9 {
			continue
		}
		off := math.Abs(g-w) / max(math.Abs(w), 1e-9)
		if off > worst {
			worst, which = off, key
		}
		if math.Abs(g-w) > math.Abs(w)/100+beside {
			t.Errorf("%s: %s: %s %g, %s %g", phase, key, a.name, w, b.name, g)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s: %s has %s, which %s has not", phase, b.name, key, a.name)
		}
	}
	t.Logf("%s: %s and %s: %d of %d series, at most %.2g %% apart %s", phase, a.name, b.name, compared,
		len(want), 100*worst, which)
}
