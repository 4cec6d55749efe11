package rules_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// alertSink is an Alertmanager that notes when each evaluator sent each page.
type alertSink struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]map[string]page // by page and evaluator
}

// page is when one began and when it ended, zero while it fires; and how often it began.
type page struct {
	from, to time.Time
	times    int
}

func newSink(t *testing.T) *alertSink {
	t.Helper()
	s := &alertSink{seen: map[string]map[string]page{}}
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
			if a.Labels["severity"] == "critical" {
				s.note(a.Labels, now, !a.EndsAt.IsZero() && !a.EndsAt.After(now))
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *alertSink) note(labels map[string]string, now time.Time, ended bool) {
	key := strings.TrimSpace(strings.Join([]string{labels["alertname"], labels["instance"], labels["gateway"], labels["evidence"]}, " "))
	if s.seen[key] == nil {
		s.seen[key] = map[string]page{}
	}
	evaluator := labels["replica"] + labels["ruler"]
	p, known := s.seen[key][evaluator]
	switch {
	case !ended && !known:
		p = page{from: now, times: 1}
	case !ended && !p.to.IsZero():
		p.to = time.Time{}
		p.times++
	case ended && known && p.to.IsZero():
		p.to = now
	case ended && !known: // resolved before it was seen: not sent
		return
	}
	s.seen[key][evaluator] = p
}

// sent are an engine's pages: from the first evaluator that sent one to the last that resolved it.
func (e *engine) sent() map[string]page {
	e.alert.mu.Lock()
	defer e.alert.mu.Unlock()
	out := map[string]page{}
	for key, by := range e.alert.seen {
		var all page
		fires := false
		for _, p := range by {
			if all.times == 0 || p.from.Before(all.from) {
				all.from = p.from
			}
			if p.to.After(all.to) {
				all.to = p.to
			}
			fires = fires || p.to.IsZero()
			all.times = max(all.times, p.times)
		}
		if fires {
			all.to = time.Time{}
		}
		out[key] = all
	}
	return out
}

func (e *engine) pages(start time.Time) string {
	var out []string
	sent := e.sent()
	for _, key := range slices.Sorted(maps.Keys(sent)) {
		p, end := sent[key], "fires"
		if !p.to.IsZero() {
			end = p.to.Sub(start).Round(time.Second).String()
		}
		out = append(out, fmt.Sprintf("%s %s to %s", key, p.from.Sub(start).Round(time.Second), end))
	}
	return strings.Join(out, "; ")
}

// comparePages reports pages of one engine alone, those that b sent more than an interval earlier or later than a, and those that
// it sent twice or never resolved.
func comparePages(t *testing.T, f *incident, a, b *engine) {
	t.Helper()
	want, got := a.sent(), b.sent()
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			t.Errorf("%s did not send %s", b.name, key)
			continue
		}
		// A rule may be an interval behind what it reads, and both are behind the scrape; engines take turns on the machine.
		const slack = engineFleet + engineScrape + 13*time.Second
		if late := g.from.Sub(w.from); late > slack || late < -slack {
			t.Errorf("%s: %s at %s, %s at %s", key, a.name, w.from.Sub(f.start), b.name, g.from.Sub(f.start))
		}
		if g.times != w.times || g.to.IsZero() != w.to.IsZero() {
			t.Errorf("%s: %s sent it %d times and it ended %s, %s %d times and %s", key, a.name, w.times, w.to, b.name, g.times, g.to)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s alone sent %s", b.name, key)
		}
	}
}
