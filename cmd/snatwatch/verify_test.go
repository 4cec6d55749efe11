package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/internal/remote"
	"github.com/snatwatch/snatwatch/internal/verify"
)

// The budget and what is held of it come from the agent's snapshot.
func TestVerifyAsksTheAgent(t *testing.T) {
	t.Parallel()
	snapshot, err := os.ReadFile("../../internal/web/testdata/snapshot.json")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(snapshot) }))
	t.Cleanup(s.Close)
	web := verify.Budget{Name: "web", Ports: 1024, Effective: 1024}
	for _, tt := range []struct {
		name, budget, target string
		want                 verify.Budget
		held, cooling        int
		err                  string
	}{
		{name: "held already", budget: "web", target: "203.0.113.7:443", want: web, held: 967, cooling: 242},
		{name: "nothing held", budget: "web", target: "203.0.113.99:443", want: web},
		{name: "no such budget", budget: "none", target: "203.0.113.7:443", err: `no TCP budget "none"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, held, err := askBudget(t.Context(), s.URL, tt.budget, netip.MustParseAddrPort(tt.target))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("error %v, want %q", err, tt.err)
				}
				return
			}
			if d := cmp.Diff(tt.want, b); err != nil || d != "" || held.Held != tt.held || held.Cooling != tt.cooling {
				t.Errorf("held %d, cooling %d, want %d and %d, error %v (-want +got):\n%s", held.Held, held.Cooling, tt.held, tt.cooling, err, d)
			}
		})
	}
}

// Low ports are port spaces of their own: no flow of the test is in one, however much it holds.
func TestVerifyLeavesLowPortsOut(t *testing.T) {
	t.Parallel()
	to := netip.MustParseAddrPort("203.0.113.7:443")
	b := &remote.Budget{Protocols: []remote.Protocol{{Protocol: "tcp", Spaces: []remote.Space{
		{Destination: to.String(), VIP: "ports 1-511", Ports: 511, Held: 500}, {Destination: to.String(), Held: 7},
	}}}}
	if got := heldTo(b, to); got.Held != 7 {
		t.Errorf("%d ports are held, want 7", got.Held)
	}
}

// A 0 that was given is refused before anything is opened: it does not stand for the default.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"rate=0", "pending=0", "stop-after=0", "timeout=0s", "hold=0s", "ports=0", "limit=0"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			app := kingpin.New("snatwatch", "")
			c := verifyCommand(app)
			args := []string{"verify", "--target=127.0.0.1:9", "--" + flag}
			if !strings.HasPrefix(flag, "limit") {
				args = append(args, "--limit=1")
			}
			if _, err := app.Parse(args); err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(flag, "=")
			err := c.run(t.Context(), &env{stdout: io.Discard}, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "no flow opened") {
				t.Errorf("error %v, want one of %s", err, name)
			}
		})
	}
}
