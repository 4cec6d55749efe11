package timeline

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/prom"
)

const (
	fast = 5 * time.Second
	slow = 30 * time.Second
)

// incident replays one as the programs would have told of it: what fires is set by tests.
func incident(t *testing.T, change func(second int, p *float64, firing map[time.Duration][]string, inhibited *bool)) (*recorder, string) {
	t.Helper()
	var out bytes.Buffer
	r := newRecorder(&out, Options{Intervals: []time.Duration{fast, slow}, PageAt: 0.3})
	start := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	for second := range 300 {
		now := start.Add(time.Duration(second) * time.Second)
		r.now = func() time.Time { return now }
		m := lab.Moment{At: now, Stage: lab.Stage(second / 60)}
		if second >= 120 {
			m.FirstFailure = start.Add(120 * time.Second)
		}
		r.observe(m)
		p, inhibited, firing := 0.0, false, map[time.Duration][]string{}
		if second >= 90 && second < 200 {
			p, firing[fast] = 0.5, []string{predicted}
		}
		if second >= 125 && second < 200 {
			firing[fast], firing[slow], inhibited = []string{predicted, exhausted}, []string{predicted}, true
		}
		if change != nil {
			change(second, &p, firing, &inhibited)
		}
		if second == 95 {
			body := `{"receiver":"page","alerts":[{"status":"firing","labels":{"alertname":"SnatExhaustionPredicted"},"annotations":{"description":"ports run out"}}]}`
			r.delivered(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/page", strings.NewReader(body)))
		}
		r.note(p, 900, firing, map[time.Duration]bool{fast: true, slow: true}, inhibited)
	}
	if err := r.report(&out); err != nil {
		t.Fatal(err)
	}
	return r, out.String()
}

func TestTimelineOfAnIncident(t *testing.T) {
	t.Parallel()
	r, out := incident(t, nil)
	if err := r.verdict(); err != nil {
		t.Errorf("verdict: %v", err)
	}
	for _, want := range []string{
		"03:01:30     +30 s  the forecast crosses: a page is urgent (0.50), 900 ports held",
		"03:01:35     +35 s  the page is delivered: ports run out",
		"03:02:00     +60 s  the first call fails",
		"+120 s  relief: a second VIP is added",
		"5s                               30 s         20 s",
		"30s                              -5 s         20 s",
		"the agent's own forecast         30 s",
		"page delivered                   25 s",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestVerdictRefusesALatePage(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(second int, p *float64, firing map[time.Duration][]string, inhibited *bool)
		want   string
	}{
		{"never fires", func(_ int, _ *float64, f map[time.Duration][]string, _ *bool) { clear(f) }, "SnatExhaustionPredicted did not fire before the first failure at a 5s interval"},
		{"never crosses", func(_ int, p *float64, _ map[time.Duration][]string, _ *bool) { *p = 0 }, "the forecast did not cross before the first failure"},
		{"never clears", func(s int, _ *float64, f map[time.Duration][]string, _ *bool) {
			if s >= 200 {
				f[fast] = []string{predicted}
			}
		}, "SnatExhaustionPredicted did not clear after the second VIP was added"},
		{"not inhibited", func(_ int, _ *float64, _ map[time.Duration][]string, i *bool) { *i = false }, "SnatExhaustionPredicted was not inhibited while SnatPortsExhausted fired"},
		{"fires at the baseline", func(s int, _ *float64, f map[time.Duration][]string, _ *bool) {
			if s == 10 {
				f[fast] = []string{predicted}
			}
		}, "SnatExhaustionPredicted fired before the burst"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, _ := incident(t, tt.change)
			if err := r.verdict(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("verdict %v, want %q", err, tt.want)
			}
		})
	}
}

func TestPlaySaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	routing := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(routing, []byte("route: {receiver: a}\nreceivers: [{name: a}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(context.Context, func(lab.Moment)) error { return nil }
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"no Alertmanager's configuration", Options{Alertmanager: "sh", Routing: filepath.Join(dir, "none.yml")}, "--routing: open"},
		{"one without our receiver", Options{Alertmanager: "sh", Routing: routing}, "no receiver at 127.0.0.1:9099"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.o.Intervals = []time.Duration{fast}
			err := Play(t.Context(), new(bytes.Buffer), tt.o, run)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	if _, err := prom.Find("no-such-program"); err == nil || !strings.Contains(err.Error(), "apt-get install prometheus") {
		t.Errorf("error %v, want the packages to install", err)
	}
}
