package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func TestPageIsBounded(t *testing.T) {
	t.Parallel()
	st := crowdedState()
	budgets := st.View.Snapshot.Budgets
	body := get(t, newTestServer(t, st).Handler(), "/")
	if got := len(body); got > 100_000 {
		t.Errorf("page of %d budgets has %d bytes, want at most 100 000", len(budgets), got)
	}
	if !strings.Contains(body, "more budgets stand in") {
		t.Error("the page does not say that budgets are left out")
	}
}

func TestPageNamesTheCloud(t *testing.T) {
	t.Parallel()
	body := get(t, newTestServer(t, busyState()).Handler(), "/")
	if want := "<b>azure</b>, region westeurope, instance web_3"; !strings.Contains(body, want) {
		t.Errorf("the page does not say %q", want)
	}
}

// An agent that reads the sockets of a thousand network namespaces says so in one line, and the page stays small where
// every one of them has a reason of its own.
func TestPageOfManySources(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		why  func(i int) string
		want []string
	}{
		{
			"one reason", func(int) string { return "the budget is of local ports, which sockets show" },
			[]string{"<b>conntrack</b> (poll), 1434 flows now ", "<b>sockets</b>, 2997 flows now in 999 network namespaces "},
		},
		{
			"a reason each", func(i int) string { return fmt.Sprintf("%d sockets, and the longest name of a namespace", i) },
			[]string{"<b>conntrack</b> (poll), 1434 flows now ", "<b>992 more</b>"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := busyState()
			snap := *st.View.Snapshot
			snap.Netns = slices.Clone(snap.Netns)
			for i := range 999 {
				netns := uint64(5_000_000_000 + i)
				st.View.Sources = append(st.View.Sources, metrics.Source{Netns: netns, Name: "sockets", Why: tt.why(i)})
				snap.Netns = append(snap.Netns, detector.NetnsSnapshot{Netns: netns, Exact: true, Flows: 3})
			}
			st.View.Snapshot = &snap
			body := get(t, newTestServer(t, st).Handler(), "/")
			if n := len(body); n > 100_000 {
				t.Errorf("the page of 1000 sources has %d bytes, want at most 100 000", n)
			}
			for _, want := range tt.want {
				if !strings.Contains(body, want) {
					t.Errorf("the page does not say %q", want)
				}
			}
		})
	}
}

func TestPageNamesNoOtherHost(t *testing.T) {
	t.Parallel()
	body := get(t, newTestServer(t, busyState()).Handler(), "/")
	if m := regexp.MustCompile(`(?i)(https?:)?//[a-z]`).FindString(body); m != "" {
		t.Errorf("the page refers to %q", m)
	}
}

// A port space that will be exhausted is in the table even where fifty others hold more.
func TestPageShowsWhatIsInDanger(t *testing.T) {
	t.Parallel()
	st := calmState()
	p := &st.View.Snapshot.Budgets[0].Protocols[0]
	danger := p.Spaces[0]
	danger.Destination, danger.Held = "198.51.100.77:443", 5
	danger.Forecast = &detector.Forecast{Probability: [4]float64{0.1, 0.5, 0.9, 0.9}, TimeToExhaustion: 300}
	for len(p.Spaces) < 50 {
		p.Spaces = append(p.Spaces, p.Spaces[0])
	}
	p.Spaces = append(p.Spaces, danger)
	shown := newTestServer(t, st).page.data(st, time.Second).Budgets[0].Protocols[0].Spaces
	if shown[0].Destination != danger.Destination {
		t.Errorf("%s stands first, want %s", shown[0].Destination, danger.Destination)
	}
}

func TestNumbersForReaders(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		span(0.004): "4 ms", span(3.14): "3.1 s", span(30): "30 s", span(141): "2 min",
		span(8000): "2.2 h", span(200_000): "2 d",
		percent(0): "0 %", percent(0.001): "< 1 %", percent(0.9999): "> 99 %", percent(1): "100 %", percent(0.5): "50 %",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The page in a browser: a document of the size of a phone and of a desktop, each in a
// frame, tells its parent how wide its content is and whether it updated itself.
// SCREENSHOTS=DIR keeps pictures.
func TestPageInChromium(t *testing.T) {
	t.Parallel()
	chromium := findChromium(t)
	tests := []struct {
		name          string
		width, height int
		state         *State
	}{
		{"desktop", 1200, 1500, busyState()},
		{"phone", 390, 2600, busyState()},
		{"phone before the first dump", 390, 500, &State{View: startingView()}},
		{"phone calm", 390, 1500, calmState()},
		{"phone exhausted and inexact", 390, 2600, exhaustedState()},
		{"phone many budgets", 390, 3000, crowdedState()},
		{"phone long names", 390, 3000, longState()},
		{"desktop long names", 1200, 2500, longState()},
		{"desktop with a past", 1200, 1700, pastState()},
		{"phone with a past", 390, 3200, pastState()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			requests := make(chan struct{}, 1000)
			server := newTestServer(t, tt.state)
			if strings.Contains(tt.name, "past") {
				server.page.history = hour(tt.state, 59)
			}
			page := server.Handler()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
				requests <- struct{}{}
				page.ServeHTTP(w, r)
			})
			mux.HandleFunc("GET /frame", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, `<!DOCTYPE html><style>body{margin:0}iframe{border:0;display:block}</style>
<iframe src="/" width="%d" height="%d"></iframe><script>
setTimeout(() => {
  const d = document.querySelector("iframe").contentDocument;
  const lost = d.defaultView.getComputedStyle(d.getElementById("lost")).display;
  document.body.dataset.result = "width " + d.documentElement.scrollWidth + " lost " + lost;
}, 3500);</script>`, tt.width, tt.height)
			})
			srv := httptest.NewServer(mux)
			defer srv.Close()
			args := append(chromiumFlags(t, tt.width, tt.height), "--virtual-time-budget=5000")
			if dir := os.Getenv("SCREENSHOTS"); dir != "" {
				shot := filepath.Join(dir, strings.ReplaceAll(tt.name, " ", "-")+".png")
				run(t, chromium, append(args, "--screenshot="+shot, srv.URL+"/frame"))
			}
			want := fmt.Sprintf(`data-result="width %d lost none"`, tt.width)
			// On a machine that is busy Chromium's virtual time may end before the page's timers: then it is asked again.
			for deadline := time.Now().Add(2 * time.Minute); ; {
				before := len(requests)
				dom := run(t, chromium, append(args, "--dump-dom", srv.URL+"/frame"))
				asked := len(requests) - before
				if strings.Contains(dom, want) && asked >= 2 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("the page was asked for %d times, want it to update itself; want %s in the document:\n%s", asked, want, dom)
				}
			}
		})
	}
}

// Without JavaScript the page still tells all, and asks for itself again every five seconds: in a sandboxed
// frame no script runs, so that what stands in noscript is part of the document.
func TestPageWithoutScript(t *testing.T) {
	t.Parallel()
	chromium := findChromium(t)
	page := newTestServer(t, exhaustedState()).Handler()
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", page)
	mux.HandleFunc("GET /frame", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `<!DOCTYPE html><iframe sandbox="allow-same-origin" src="/"></iframe><script>
window.onload = () => {
  const d = document.querySelector("iframe").contentDocument;
  const refresh = d.querySelector("noscript meta[http-equiv=refresh]");
  document.body.dataset.result = "refresh " + (refresh && refresh.content) + " " + d.getElementById("live").textContent;
};</script>`)
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	dom := run(t, chromium, append(chromiumFlags(t, 390, 800), "--virtual-time-budget=5000", "--dump-dom", srv.URL+"/frame"))
	for _, want := range []string{`data-result="refresh 5 `, "Exhausted: 203.0.113.7:443 tcp: 1024 of 1024 ports held", "not exact until a complete dump agrees", "flows stall at 700 ports"} {
		if !strings.Contains(dom, want) {
			t.Errorf("the document does not say %q:\n%s", want, dom)
		}
	}
}

func findChromium(t *testing.T) string {
	t.Helper()
	return kerneltest.Program(t, "chromium", "chromium")
}

func chromiumFlags(t *testing.T, width, height int) []string {
	t.Helper()
	return []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + t.TempDir(), fmt.Sprintf("--window-size=%d,%d", max(width, 500), height), "--hide-scrollbars",
	}
}

func calmState() *State {
	st := busyState()
	st.Notices = nil
	b := &st.View.Snapshot.Budgets[1]
	p := &b.Protocols[0]
	p.Held, p.Live, p.Cooling, p.Busiest, p.Opening, p.Stalled = 21, 21, 0, 12, 0, 0
	p.Unanswered, p.Refused, p.NoPorts, p.Spaces, p.Other, p.Tracked = 0, 0, 0, p.Spaces[4:6], detector.SpaceSnapshot{}, 2
	b.Protocols = b.Protocols[:1]
	st.View.Snapshot.Budgets = st.View.Snapshot.Budgets[1:]
	return st
}

func exhaustedState() *State {
	st := busyState()
	st.View.Snapshot.Netns[0].Exact = false
	st.View.CPUExceeded = true
	b := &st.View.Snapshot.Budgets[1]
	b.Contradicted, b.Contradiction = true, "flows stall at 700 ports"
	s := &b.Protocols[0].Spaces[0]
	s.Held, s.Live, s.Cooling = 1024, 800, 224
	s.Forecast.TimeToExhaustion = 0
	b.Protocols[0].Busiest = 1024
	return st
}

func crowdedState() *State {
	st := busyState()
	budgets := st.View.Snapshot.Budgets
	web := budgets[1]
	for len(web.Protocols[0].Spaces) < 50 {
		web.Protocols[0].Spaces = append(web.Protocols[0].Spaces, web.Protocols[0].Spaces[3])
	}
	web.Protocols[1].Spaces = web.Protocols[0].Spaces
	for range 100 {
		budgets = append(budgets, web)
	}
	st.View.Snapshot.Budgets = budgets
	return st
}

// longState has fifty destinations with the longest names that there are.
func longState() *State {
	st := busyState()
	p := &st.View.Snapshot.Budgets[1].Protocols[0]
	for i := len(p.Spaces); i < 50; i++ {
		s := p.Spaces[4]
		s.Destination, s.VIP = fmt.Sprintf("[2001:db8:1234:5678:9abc:def0:1234:%x]:65535", 0x5600+i), "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
		s.Held, s.Live, s.Cooling = 900-i, 400, 500-i
		p.Spaces = append(p.Spaces, s)
	}
	return st
}

func run(t *testing.T, name string, args []string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out)
}

func get(t testing.TB, h http.Handler, path string) string {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	if rec.Code != http.StatusOK {
		t.Fatalf("GET %s: %d: %s", path, rec.Code, rec.Body)
	}
	b, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
