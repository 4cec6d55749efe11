package web

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/snatwatch/snatwatch/internal/golden"
)

func TestRoutes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, method, path string
		change             func(*Server)
		status             int
		contains           string
	}{
		{name: "metrics", method: "GET", path: "/metrics", status: 200, contains: `snat_ports_held{budget="web"`},
		{name: "runtime metrics", method: "GET", path: "/metrics", status: 200, contains: "go_goroutines"},
		{name: "page", method: "GET", path: "/", status: 200, contains: "967 of 1024"},
		{name: "snapshot", method: "GET", path: "/api/v1/snapshot", status: 200, contains: `"destination": "203.0.113.7:443"`},
		{
			name: "no snapshot yet", method: "GET", path: "/api/v1/snapshot", status: 503, contains: "no snapshot yet",
			change: func(s *Server) { s.state = func() *State { return &State{View: startingView()} } },
		},
		{name: "budgets", method: "GET", path: "/api/v1/budgets", status: 200, contains: `"model": "azure-lb-2018"`},
		{name: "healthy", method: "GET", path: "/-/healthy", status: 200},
		{
			name: "the loop hangs", method: "GET", path: "/-/healthy", status: 503, contains: "1m0s old",
			change: func(s *Server) { s.age = func() time.Duration { return time.Minute } },
		},
		{name: "ready", method: "GET", path: "/-/ready", status: 200},
		{
			name: "not ready", method: "GET", path: "/-/ready", status: 503, contains: "no complete dump yet",
			change: func(s *Server) { s.state = func() *State { return &State{View: startingView()} } },
		},
		{
			name: "reload", method: "POST", path: "/-/reload", status: 200,
			change: func(s *Server) { s.reload = func() error { return nil } },
		},
		{name: "bad config", method: "POST", path: "/-/reload", status: 422, contains: "budgets[0].nodes 1001: want 1 to 1000"},
		{
			name: "reload without the flag", method: "POST", path: "/-/reload", status: 403, contains: "--web.enable-lifecycle",
			change: func(s *Server) { s.lifecycle = false },
		},
		{name: "profile without the flag", method: "GET", path: "/debug/pprof/", status: 404},
		{
			name: "profile", method: "GET", path: "/debug/pprof/", status: 200, contains: "goroutine",
			change: func(s *Server) { s.profiling = true },
		},
		{name: "reload by GET", method: "GET", path: "/-/reload", status: 405},
		{name: "no such page", method: "GET", path: "/nothing", status: 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newTestServer(t, busyState())
			if tt.change != nil {
				tt.change(s)
			}
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, httptest.NewRequest(tt.method, tt.path, nil))
			if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.contains) {
				t.Errorf("%d, want %d and %q in:\n%.2000s", rec.Code, tt.status, tt.contains, rec.Body)
			}
		})
	}
}

// What client_golang calls the network traffic of the process is that of its whole network namespace.
func TestMetricsAreOfTheProcessAlone(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newTestServer(t, busyState()).Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body := w.Body.String()
	if !strings.Contains(body, "\nprocess_cpu_seconds_total ") {
		t.Error("process_cpu_seconds_total is absent")
	}
	if strings.Contains(body, "process_network_") {
		t.Error("process_network_… is there")
	}
}

// A page of another site must not make a browser reload the config.
func TestReloadFromAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	s := newTestServer(t, busyState())
	s.reload = func() error { t.Error("reloaded"); return nil }
	req := httptest.NewRequest(http.MethodPost, "/-/reload", nil)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	if rec.Code != http.StatusForbidden {
		t.Errorf("status %d, want 403", rec.Code)
	}
}

// Reloads that come without end are put off; those that a person makes go through.
func TestRepeatedReloads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, busyState())
		n := 0
		s.reload = func() error { n++; return nil }
		h := s.Handler()
		post := func() int {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/-/reload", nil))
			return rec.Code
		}
		for range 100 {
			post()
		}
		if n != reloadBurst {
			t.Errorf("%d reloads of 100 at once, want %d", n, reloadBurst)
		}
		time.Sleep(reloadEvery)
		if code := post(); code != http.StatusOK {
			t.Errorf("a reload after a pause: status %d", code)
		}
		if code := post(); code != http.StatusTooManyRequests {
			t.Errorf("the next at once: status %d, want 429", code)
		}
	})
}

// A scrape beyond those at once waits for its turn; one whose turn does not come is told so.
func TestScrapesWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newTestServer(t, busyState())
		release := make(chan struct{})
		h := s.inTurn(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
		codes := make(chan int)
		scrape := func() {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			codes <- rec.Code
		}
		for range scrapesAtOnce {
			go scrape()
		}
		synctest.Wait()
		go scrape()
		if code := <-codes; code != http.StatusServiceUnavailable {
			t.Errorf("status %d after %v, want 503", code, scrapeWait)
		}
		go scrape()
		time.Sleep(scrapeWait / 2)
		close(release)
		for range scrapesAtOnce + 1 {
			if code := <-codes; code != http.StatusOK {
				t.Errorf("status %d, want 200", code)
			}
		}
	})
}

// Every answer, errors too, carries the headers.
func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	h := newTestServer(t, busyState()).Handler()
	for _, path := range []string{"/", "/metrics", "/api/v1/snapshot", "/-/ready", "/nothing"} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"} {
			if rec.Header().Get(name) == "" {
				t.Errorf("%s: no %s", path, name)
			}
		}
	}
}

// Scrapers ask by addresses and names that the agent cannot know: it answers all of them, as doc.go says.
func TestAnyHostIsAnswered(t *testing.T) {
	t.Parallel()
	h := newTestServer(t, busyState()).Handler()
	for _, host := range []string{"localhost:9959", "10.0.0.4:9959", "[2001:db8::4]:9959", "snatwatch.example:443", ""} {
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.Host = host
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != http.StatusOK {
			t.Errorf("host %q: status %d", host, rec.Code)
		}
	}
}

func TestSnapshotShape(t *testing.T) {
	t.Parallel()
	st := busyState()
	web := &st.View.Snapshot.Budgets[1]
	web.Protocols[0].Spaces = web.Protocols[0].Spaces[:2]
	st.View.Snapshot.Budgets = st.View.Snapshot.Budgets[1:]
	got := get(t, newTestServer(t, st).Handler(), "/api/v1/snapshot")
	golden.Compare(t, "testdata/snapshot.json", got)
	if !json.Valid([]byte(got)) {
		t.Error("not JSON")
	}
}
