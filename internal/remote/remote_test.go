package remote

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answering is a server that gives one answer to whatever is asked.
func answering(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestAgentSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"no snapshot yet", 503, `{"error":"no snapshot yet"}`, "answers 503: no snapshot yet"},
		{"another program", 404, "404 page not found", "is no agent of snatwatch"},
		{"another program's JSON", 200, `{"status":"success"}`, "its snapshot has no time"},
		{"a page", 200, "<html>", "read snapshot"},
		{"half an answer", 200, `{"at":"2026-03-01T12:00:00Z","budgets":[`, "read snapshot: unexpected EOF"},
		{"nothing", 500, "", "answers 500: no reason given"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := Agent(t.Context(), answering(t, tt.status, tt.body))
			if err == nil || !strings.Contains(err.Error(), tt.want) || s != nil {
				t.Errorf("%v, error %v; want %q", s, err, tt.want)
			}
		})
	}
	for at, want := range map[string]string{
		"":                   "want host:port",
		"ftp://host":         "want host:port",
		"http://127.0.0.1:1": "connection refused",
		"127.0.0.1:1":        "connection refused",
	} {
		if _, err := Agent(t.Context(), at); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", at, err, want)
		}
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		body   string
		series int
		want   string
	}{
		{name: "two series", status: 200, series: 2, body: `{"status":"success","data":{"resultType":"vector","result":[
			{"metric":{"a":"1"},"value":[1.5,"7"]},{"metric":{"a":"2"},"value":[1.5,"+Inf"]}]}}`},
		{name: "none", status: 200, body: `{"status":"success","data":{"resultType":"vector","result":[]}}`},
		{name: "a refusal", status: 422, body: `{"status":"error","error":"query timed out"}`, want: "answers 422: query timed out"},
		{name: "a failure that says 200", status: 200, body: `{"status":"error","error":"no store"}`, want: "no store"},
		{name: "a number", status: 200, body: `{"status":"success","data":{"resultType":"scalar","result":[]}}`, want: "a scalar, not a vector"},
		{name: "no number", status: 200, body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}`, want: `"x" is no number`},
		{name: "another program", status: 404, body: "not found", want: "is no Prometheus"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := NewPrometheus(answering(t, tt.status, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Query(t.Context(), "x", time.Unix(1, 0))
			if tt.want == "" && (err != nil || len(got) != tt.series) {
				t.Errorf("%v, error %v; want %d series", got, err, tt.series)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}
