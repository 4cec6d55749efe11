package agent

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/web"
)

// A VIP that is added while the agent runs doubles the budget; a cloud that does not answer
// leaves the last one in place, over a reload too.
func TestAgentAsksTheCloudAgain(t *testing.T) {
	t.Parallel()
	var vips atomic.Value // of string; empty: out of order; 403: refused
	vips.Store("")
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said := vips.Load().(string)
		switch {
		case said == "":
			w.WriteHeader(http.StatusServiceUnavailable)
		case said == "403":
			w.WriteHeader(http.StatusForbidden)
		case strings.HasPrefix(r.URL.Path, "/metadata/instance"):
			_, _ = fmt.Fprint(w, `{"compute":{},"network":{"interface":[]}}`)
		default:
			var rules []string
			for _, v := range strings.Fields(said) {
				rules = append(rules, fmt.Sprintf(`{"frontendIpAddress":%q,"privateIpAddress":"10.1.0.4"}`, v))
			}
			_, _ = fmt.Fprintf(w, `{"loadbalancer":{"publicIpAddresses":[],"outboundRules":[%s]}}`, strings.Join(rules, ","))
		}
	}))
	t.Cleanup(service.Close)
	a, _ := newQuietAgent(t, "cloud_metadata: true\nbudgets: [{name: web, model: azure-lb-2018, nodes: 40}]\n",
		cloud.Client{URL: service.URL, RetryWait: time.Millisecond})
	look := func() error {
		a.setup.asked = 0 // a minute later
		return a.setup.lookAgain(t.Context())
	}
	type shown struct {
		Ports  int
		Notice bool
	}
	for _, step := range []struct {
		name, vips string
		do         func() error
		want       shown
	}{
		{"no answer at the start", "", look, shown{1024, true}},
		{"one VIP", "203.0.113.1", look, shown{1024, false}},
		{"a second VIP", "203.0.113.1 203.0.113.2", look, shown{2048, false}},
		{"no answer", "", look, shown{2048, true}},
		{"a reload without an answer", "", func() error { return a.setup.reload(t.Context()) }, shown{2048, true}},
		{"refused", "403", look, shown{2048, true}},
		{"a reload that is refused", "403", func() error { return a.setup.reload(t.Context()) }, shown{2048, true}},
		{"one VIP again", "203.0.113.1", look, shown{1024, false}},
		{"asked a moment ago", "203.0.113.1 203.0.113.2", func() error { return a.setup.lookAgain(t.Context()) }, shown{1024, false}},
	} {
		vips.Store(step.vips)
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		got := shown{Ports: a.setup.current()[0].TCP.Ports}
		for _, n := range a.notices.list() {
			got.Notice = got.Notice || strings.HasPrefix(n, "cloud metadata: ")
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// Something else may have the address of the metadata service: who refuses and never said anything is nothing to tell of, and
// not asked for ever.
func TestAgentRefusedByNoCloud(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(service.Close)
	a, _ := newQuietAgent(t, "budgets: [{name: web, model: azure-lb-2018, nodes: 40}]\n", cloud.Client{URL: service.URL})
	for i, step := range []struct {
		age   time.Duration
		asked int32
	}{{0, 2}, {cloudHope - time.Second, 3}, {cloudHope + time.Second, 3}} {
		step.asked *= 3 // as each cloud wants to be asked
		a.setup.asked, a.began = 0, a.now().Add(-step.age)
		if err := a.setup.lookAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
		said := slices.ContainsFunc(a.notices.list(), func(n string) bool { return strings.HasPrefix(n, "cloud metadata: ") })
		if got := asked.Load(); said || got != step.asked {
			t.Errorf("look %d: asked %d times, want %d; notices %q", i+1, got, step.asked, a.notices.list())
		}
	}
}

// What EC2 tells is shown: where the machine is, and the budget of the gateway that it must be behind.
func TestAgentShowsTheCloud(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			_, _ = fmt.Fprint(w, "token")
		case r.Header.Get("X-aws-ec2-metadata-token") != "token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/latest/dynamic/instance-identity/document":
			_, _ = fmt.Fprint(w, `{"instanceId":"i-0","region":"eu-central-1","availabilityZone":"eu-central-1a"}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(service.Close)
	a, _ := newQuietAgent(t, "cloud_metadata: true\nbudgets: [{name: out, model: auto}]\n", cloud.Client{URL: service.URL})
	want := &web.Cloud{Provider: "aws", Region: "eu-central-1", Zone: "eu-central-1a", Instance: "i-0"}
	for i := range 2 {
		if diff := cmp.Diff(want, a.setup.show().cloud); diff != "" {
			t.Errorf("look %d (-want +got):\n%s", i, diff)
		}
		if !slices.ContainsFunc(a.setup.current(), func(b *budget.Budget) bool {
			return b.Model == "aws-nat-gateway" && b.Gateway == "eu-central-1a" && b.TCP.Ports == 55000
		}) {
			t.Errorf("look %d: no budget of the gateway", i)
		}
		a.setup.asked = 0
		if err := a.setup.lookAgain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
