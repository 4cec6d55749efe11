package kube

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The tests of .ci/packages ask a real API server; these are what a real one does rarely.

// server answers lists and watches, one after the other, as a test has them.
type server struct {
	t      *testing.T
	client *Client
	folder string

	mu      sync.Mutex
	answers []func(http.ResponseWriter, *http.Request)
	asked   []string
}

func newServer(t *testing.T, answers ...func(http.ResponseWriter, *http.Request)) *server {
	t.Helper()
	s := &server{t: t, answers: answers, folder: t.TempDir()}
	h := httptest.NewTLSServer(s)
	t.Cleanup(h.Close)
	t.Cleanup(h.CloseClientConnections)
	s.write("ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})))
	s.write("token", "first\n")
	client, err := New(h.URL, s.folder)
	if err != nil {
		t.Fatal(err)
	}
	s.client = client
	return s
}

func (s *server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.folder, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	q := r.URL.Query()
	s.asked = append(s.asked, fmt.Sprintf("%s %s version=%s continue=%s selector=%s %s", r.URL.Path, r.Header.Get("Authorization"),
		q.Get("resourceVersion"), q.Get("continue"), q.Get("labelSelector"), strings.SplitN(strings.TrimPrefix(r.Header.Get("Accept"), "application/json;as="), ";", 2)[0]))
	answer := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	if len(s.answers) > 0 {
		answer, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	answer(w, r)
}

func body(code int, text string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = fmt.Fprint(w, text)
	}
}

func listed(version, next string, names ...string) func(http.ResponseWriter, *http.Request) {
	var items []string
	for _, n := range names {
		items = append(items, fmt.Sprintf(`{"metadata":{"name":%q}}`, n))
	}
	return body(http.StatusOK, fmt.Sprintf(`{"metadata":{"resourceVersion":%q,"continue":%q},"items":[%s]}`, version, next, strings.Join(items, ",")))
}

func change(kind, name, version string) string {
	return fmt.Sprintf(`{"type":%q,"object":{"metadata":{"name":%q,"resourceVersion":%q}}}`+"\n", kind, name, version)
}

// follow counts until the test ends, and returns what waits for a count.
func follow(t *testing.T, s *server, selector string) func(want int) {
	t.Helper()
	n := NewNodes(func() (*Client, error) { return s.client, nil })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Follow(ctx, selector) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Follow returned %v", err)
		}
	})
	return func(want int) {
		t.Helper()
		var got int
		var err error
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			n.mu.Lock()
			c := n.watched[selector]
			n.mu.Unlock()
			if c == nil {
				continue
			}
			if got, _, err = c.now(); got == want && err == nil {
				return
			}
		}
		t.Fatalf("%d nodes (%v), want %d", got, err, want)
	}
}

// Pages of a list are put together; changes follow on the version of the list; a version that the server has
// forgotten leads to a new list; the token that was replaced is used at once.
func TestFollow(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.answers = []func(http.ResponseWriter, *http.Request){
		listed("", "more", "a", "b"),
		listed("7", "", "c"),
		func(w http.ResponseWriter, _ *http.Request) {
			s.write("token", "second\n")
			_, _ = fmt.Fprint(w, change("ADDED", "d", "8"), change("MODIFIED", "a", "9"), change("DELETED", "b", "10"), change("ADDED", "e", "11"), change("BOOKMARK", "", "20"),
				`{"type":"ERROR","object":{"code":410,"message":"too old resource version"}}`)
		},
		listed("30", "", "a", "x"),
	}
	wait := follow(t, s, "type!=virtual")
	wait(2) // after a, c, d, e
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		n := len(s.asked)
		s.mu.Unlock()
		if n == 5 {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	want := []string{
		"/api/v1/nodes Bearer first version= continue= selector=type!=virtual PartialObjectMetadataList",
		"/api/v1/nodes Bearer first version= continue=more selector=type!=virtual PartialObjectMetadataList",
		"/api/v1/nodes Bearer first version=7 continue= selector=type!=virtual PartialObjectMetadata",
		"/api/v1/nodes Bearer second version= continue= selector=type!=virtual PartialObjectMetadataList",
		"/api/v1/nodes Bearer second version=30 continue= selector=type!=virtual PartialObjectMetadata",
	}
	if diff := cmp.Diff(want, s.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// What a server, or something before it, answers wrongly is an error with its words, and the number of before stands.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request)
		want   string
	}{
		{"forbidden", body(http.StatusForbidden, `{"kind":"Status","message":"nodes is forbidden"}`), "API server: Forbidden: nodes is forbidden"},
		{"a page of a proxy", body(http.StatusBadGateway, "<html>no</html>"), `API server: Bad Gateway: "<html>no</html>"`},
		{"no JSON", body(http.StatusOK, "<html>"), "list /api/v1/nodes: "},
		{"cut off", body(http.StatusOK, `{"metadata":{"resourceVersion":"1"},"items":[{"metadata"`), "list /api/v1/nodes: "},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://192.0.2.1/", http.StatusFound)
		}, "API server: Found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, tt.answer)
			n, err := NewNodes(func() (*Client, error) { return s.client, nil }).Count(t.Context(), "")
			if n != 0 || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%d nodes, %v, want %s", n, err, tt.want)
			}
		})
	}
}

// A watch that breaks keeps the number and says why, and goes on from the version that was told last.
func TestBrokenWatch(t *testing.T) {
	t.Parallel()
	s := newServer(t, listed("7", "", "a"), body(http.StatusOK, change("ADDED", "b", "8")+`{"type":"ADD`))
	wait := follow(t, s, "")
	wait(2)
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		n := len(s.asked)
		s.mu.Unlock()
		if n == 3 {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) < 3 || !strings.Contains(s.asked[2], "version=8 ") {
		t.Errorf("asked %q, want a third question that goes on from version 8", s.asked)
	}
}

// Outside a cluster there is nobody to ask, and that is said.
func TestNoCluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := NewNodes(InCluster).Count(t.Context(), ""); !errors.Is(err, ErrNoCluster) {
		t.Errorf("got %v, want %v", err, ErrNoCluster)
	}
	if _, err := New("https://192.0.2.1", t.TempDir()); !errors.Is(err, ErrNoCluster) {
		t.Errorf("without a certificate: got %v, want %v", err, ErrNoCluster)
	}
}

// Pods that vanish while they are listed: the server forgets the list between two of its pages, and all is listed anew.
// What was told before stays until then.
func TestListThatExpiresBetweenItsPages(t *testing.T) {
	t.Parallel()
	s := newServer(t,
		listed("", "more", "a", "b"),
		body(http.StatusGone, `{"kind":"Status","code":410,"reason":"Expired","message":"the continue parameter is too old"}`),
		listed("", "more", "a"),
		listed("9", "", "c"),
	)
	follow(t, s, "")(2)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.asked) < 4 || !strings.Contains(s.asked[2], "continue= ") {
		t.Errorf("asked %q, want the list from its beginning", s.asked)
	}
}
