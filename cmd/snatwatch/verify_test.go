package main

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
		held                 int
		err                  string
	}{
		{name: "held already", budget: "web", target: "203.0.113.7:443", want: web, held: 967},
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
			if d := cmp.Diff(tt.want, b); err != nil || d != "" || held != tt.held {
				t.Errorf("held %d, want %d, error %v (-want +got):\n%s", held, tt.held, err, d)
			}
		})
	}
}
