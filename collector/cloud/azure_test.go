package cloud_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector/cloud"
)

// Answers in the documented shape, with addresses of documentation.
const (
	instanceJSON = `{"compute":{"azEnvironment":"AzurePublicCloud","location":"westeurope","name":"web_3","vmScaleSetName":"web","tags":""},
		"network":{"interface":[{"ipv4":{"ipAddress":[{"privateIpAddress":"10.1.0.4","publicIpAddress":"%s"}],
		"subnet":[{"address":"10.1.0.0","prefix":"24"}]},"ipv6":{"ipAddress":[]},"macAddress":"000D3A000001"}]}}`
	lbJSON = `{"loadbalancer":{
		"publicIpAddresses":[%s],
		"inboundRules":[{"frontendIpAddress":"203.0.113.9","protocol":"tcp","frontendPort":80,"backendPort":443,"privateIpAddress":"10.1.0.4"}],
		"outboundRules":[%s]}}`
)

func frontends(addresses ...string) string {
	var fs []string
	for _, a := range addresses {
		fs = append(fs, fmt.Sprintf(`{"frontendIpAddress":%q,"privateIpAddress":"10.1.0.4"}`, a))
	}
	return strings.Join(fs, ",")
}

// answer is what the service says to the n-th request for a path.
type answer struct {
	status int
	body   string
}

// imds answers as Azure's service does, refusing what that refuses.
type imds struct {
	t            *testing.T
	instance, lb []answer
	asked        map[string]int
}

func (s *imds) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/metadata/") { // how other clouds are asked
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Header.Get("Metadata") != "true" || r.Header.Get("X-Forwarded-For") != "" || r.URL.Query().Get("api-version") == "" {
		s.t.Errorf("%s %v: headers %v", r.Method, r.URL, r.Header)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answers := map[string][]answer{"/metadata/instance": s.instance, "/metadata/loadbalancer": s.lb}[r.URL.Path]
	n := s.asked[r.URL.Path]
	s.asked[r.URL.Path]++
	if len(answers) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	a := answers[min(n, len(answers)-1)]
	w.WriteHeader(a.status)
	_, _ = fmt.Fprint(w, a.body)
}

func TestAsk(t *testing.T) {
	t.Parallel()
	vm := []answer{{200, fmt.Sprintf(instanceJSON, "")}}
	west := cloud.Metadata{Provider: "azure", Region: "westeurope", Instance: "web_3"}
	with := func(vips, public []netip.Addr) cloud.Metadata {
		m := west
		m.VIPs, m.PublicIPs = vips, public
		return m
	}
	vips := func(v ...string) []netip.Addr {
		var as []netip.Addr
		for _, s := range v {
			as = append(as, netip.MustParseAddr(s))
		}
		return as
	}
	tests := []struct {
		name         string
		instance, lb []answer
		want         cloud.Metadata
		wantErr      string
		asked        int // times for the load balancer
	}{
		{
			name: "two frontends, one twice, one IPv6", instance: vm,
			lb:   []answer{{200, fmt.Sprintf(lbJSON, "", frontends("203.0.113.2", "203.0.113.1", "2001:db8::1", "203.0.113.2"))}},
			want: with(vips("203.0.113.1", "203.0.113.2"), nil), asked: 1,
		},
		{
			name: "a public IP of its own, told by the load balancer's document", instance: vm,
			lb:   []answer{{200, fmt.Sprintf(lbJSON, frontends("203.0.113.7"), frontends("203.0.113.1"))}},
			want: with(vips("203.0.113.1"), vips("203.0.113.7")), asked: 1,
		},
		{
			name: "a public IP of its own, told by both", instance: []answer{{200, fmt.Sprintf(instanceJSON, "203.0.113.7")}},
			lb:   []answer{{200, fmt.Sprintf(lbJSON, frontends("203.0.113.7"), "")}},
			want: with(nil, vips("203.0.113.7")), asked: 1,
		},
		{
			name: "no load balancer, or the Basic SKU", instance: vm, lb: []answer{{404, `{"error":"No load balancer metadata is found"}`}},
			want: west, asked: 1,
		},
		{
			name: "busy, then not", instance: vm,
			lb:   []answer{{429, ""}, {503, ""}, {200, fmt.Sprintf(lbJSON, "", frontends("203.0.113.1"))}},
			want: with(vips("203.0.113.1"), nil), asked: 3,
		},
		{
			name: "busy for long", instance: vm, lb: []answer{{429, ""}},
			want: west, wantErr: "azure load balancer metadata: status 429 Too Many Requests", asked: 3,
		},
		{
			name: "out of order", instance: vm, lb: []answer{{503, ""}},
			want: west, wantErr: "azure load balancer metadata: status 503 Service Unavailable", asked: 3,
		},
		{name: "the instance is refused", instance: []answer{{403, ""}}, wantErr: "azure instance metadata: status 403 Forbidden: refused"},
		{
			name: "the load balancer is refused", instance: vm, lb: []answer{{403, ""}},
			want: west, wantErr: "azure load balancer metadata: status 403 Forbidden: refused", asked: 1,
		},
		{name: "another cloud knows no such path", instance: []answer{{404, ""}}},
		{name: "another cloud wants a token", instance: []answer{{401, ""}}},
		{name: "a web page", instance: []answer{{200, "<html>"}}},
		{name: "JSON of something else", instance: []answer{{200, `{"hello":"world"}`}}},
		{name: "a redirect is not followed", instance: []answer{{302, ""}}},
		{
			name: "addresses that are none", instance: vm, lb: []answer{{200, fmt.Sprintf(lbJSON, frontends(""), frontends("hello", "203.0.113.300"))}},
			want: west, asked: 1,
		},
		{
			name: "a load balancer document of another shape", instance: vm, lb: []answer{{200, `{"loadbalancer":[]}`}},
			want: west, asked: 1,
			wantErr: "azure load balancer metadata: an answer that is not the JSON expected: ",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &imds{t: t, instance: tt.instance, lb: tt.lb, asked: map[string]int{}}
			srv := httptest.NewServer(s)
			got, err := cloud.Client{URL: srv.URL, RetryWait: time.Millisecond}.Ask(t.Context())
			srv.Close()
			if (err == nil) != (tt.wantErr == "") || err != nil && !strings.HasPrefix(err.Error(), tt.wantErr) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := s.asked["/metadata/loadbalancer"]; n != tt.asked {
				t.Errorf("asked for the load balancer %d times, want %d", n, tt.asked)
			}
		})
	}
}

// The service refuses what came through a proxy, so none is used.
func TestAskUsesNoProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the proxy was asked for %v", r.URL)
	}))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	s := &imds{t: t, instance: []answer{{200, fmt.Sprintf(instanceJSON, "203.0.113.7")}}, asked: map[string]int{}}
	srv := httptest.NewServer(s)
	defer srv.Close()
	got, err := cloud.Client{URL: srv.URL}.Ask(t.Context())
	if err != nil || got.Provider != "azure" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A machine without a metadata service: nothing listens, or nothing answers.
func TestAskNoService(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	for _, url := range []string{gone.URL, silent.URL} {
		got, err := cloud.Client{URL: url, Timeout: 50 * time.Millisecond}.Ask(t.Context())
		if err != nil || got.Provider != "" {
			t.Errorf("%s: got %+v, %v", url, got, err)
		}
	}
}

// A service that stays busy does not hold up an agent that is told to stop.
func TestAskCancelled(t *testing.T) {
	t.Parallel()
	s := &imds{t: t, instance: []answer{{429, ""}}, asked: map[string]int{}}
	srv := httptest.NewServer(s)
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (cloud.Client{URL: srv.URL, RetryWait: time.Hour}).Ask(ctx); err == nil {
		t.Error("no error")
	}
}
