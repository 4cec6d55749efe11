package web

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A scrape tells how old the snapshot is by then, whatever the wall clock does.
func TestScrapeTellsTheAgeOfTheSnapshot(t *testing.T) {
	t.Parallel()
	age := 2 * time.Second
	s := newTestServer(t, busyState())
	s.age = func() time.Duration { return age }
	for _, want := range []string{"snat_snapshot_age_seconds 2\n", "snat_snapshot_age_seconds 90\n"} {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if !bytes.Contains(w.Body.Bytes(), []byte(want)) {
			t.Errorf("the scrape has no %q", want)
		}
		age = 90 * time.Second
	}
}
