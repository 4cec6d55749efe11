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
	"regexp"
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
	reference := all[0]
	for _, p := range incidentPhases {
		// Asked of a moment that is past, so that it does not matter how soon each engine writes and answers.
		f.reach(t, p.end)
		values := map[string]map[string]float64{}
		for _, e := range all {
			values[e.name] = e.recorded(t, f.start.Add(p.end-10*time.Second))
		}
		for _, e := range all[1:] {
			compareValues(t, p.name, reference, e, values[reference.name], values[e.name])
		}
	}
	if err := <-restarted; err != nil {
		t.Error(err)
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
