package cloud_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector/cloud"
)

// ec2 answers as EC2's service does where version 2 is required: nothing without a token, which a PUT gives.
type ec2 struct {
	t *testing.T
	// public are the addresses of the second interface; token is refused with status, if that is set.
	public string
	status int
}

func (s ec2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const token, mac = "AQAEAExampleToken==", "02:29:96:8f:6a:2d"
	if r.Header.Get("X-Forwarded-For") != "" {
		s.t.Errorf("%v: X-Forwarded-For", r.URL)
	}
	if r.URL.Path == "/latest/api/token" {
		switch {
		case s.status != 0:
			w.WriteHeader(s.status)
		case r.Method != http.MethodPut:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") == "":
			w.WriteHeader(http.StatusBadRequest)
		default:
			_, _ = fmt.Fprint(w, token)
		}
		return
	}
	if r.Header.Get("X-aws-ec2-metadata-token") != token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	answers := map[string]string{
		"/latest/dynamic/instance-identity/document": `{"accountId":"111122223333","architecture":"x86_64",
			"availabilityZone":"eu-central-1a","imageId":"ami-0abcdef1234567890","instanceId":"i-0123456789abcdef0",
			"instanceType":"m7i.large","privateIp":"10.20.0.5","region":"eu-central-1","version":"2017-09-30"}`,
		"/latest/meta-data/mac":                                        mac,
		"/latest/meta-data/network/interfaces/macs/":                   mac + "/\n02:29:96:8f:6a:2e/\n",
		"/latest/meta-data/network/interfaces/macs/" + mac + "/vpc-id": "vpc-0a1b2c3d",
	}
	if s.public != "" {
		answers["/latest/meta-data/network/interfaces/macs/02:29:96:8f:6a:2e/public-ipv4s"] = s.public
	}
	body, ok := answers[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = fmt.Fprint(w, body)
}

// computeEngine answers as Google's metadata server does.
type computeEngine struct{ interfaces string }

func (s computeEngine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Metadata-Flavor", "Google")
	w.Header().Set("Server", "Metadata Server for VM")
	switch {
	case r.Header.Get("Metadata-Flavor") != "Google", r.Header.Get("X-Forwarded-For") != "":
		w.WriteHeader(http.StatusForbidden)
	case r.URL.Path != "/computeMetadata/v1/instance/" || r.URL.Query().Get("recursive") != "true":
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"attributes":{},"cpuPlatform":"Intel Ice Lake","hostname":"web-3.c.shop.internal",
			"id":4520031799277581759,"machineType":"projects/123456789/machineTypes/n2-standard-2","name":"web-3",
			"networkInterfaces":[%s],"zone":"projects/123456789/zones/europe-west1-b"}`, s.interfaces)
	}
}

// Instances of AWS and of Google Cloud, asked as these clouds want it, by a real server.
func TestAskOtherClouds(t *testing.T) {
	t.Parallel()
	ip := func(texts ...string) (as []netip.Addr) {
		for _, s := range texts {
			as = append(as, netip.MustParseAddr(s))
		}
		return as
	}
	inAWS := cloud.Metadata{
		Provider: "aws", Region: "eu-central-1", Zone: "eu-central-1a", Instance: "i-0123456789abcdef0", Network: "vpc-0a1b2c3d",
	}
	inGoogle := cloud.Metadata{Provider: "google", Region: "europe-west1", Zone: "europe-west1-b", Instance: "web-3"}
	with := func(m cloud.Metadata, change func(*cloud.Metadata)) cloud.Metadata {
		change(&m)
		return m
	}
	const nic = `{"accessConfigs":[{"externalIp":%q,"type":"ONE_TO_ONE_NAT"}],"ip":"10.128.0.5","ipAliases":[%s],"mac":"42:01:0a:80:00:05"}`
	for _, tt := range []struct {
		name    string
		service http.Handler
		want    cloud.Metadata
		text    string
		wantErr bool
	}{
		{
			"EC2 without a public address",
			ec2{t: t},
			inAWS,
			"aws, region eu-central-1, zone eu-central-1a, network vpc-0a1b2c3d, instance i-0123456789abcdef0", false,
		},
		{
			"EC2 with public addresses on its second interface",
			ec2{t: t, public: "203.0.113.9\n203.0.113.7"},
			with(inAWS, func(m *cloud.Metadata) { m.PublicIPs = ip("203.0.113.7", "203.0.113.9") }), "", false,
		},
		{"EC2 that gives out no token", ec2{t: t, status: http.StatusForbidden}, cloud.Metadata{}, "", true},
		{"EC2 that is busy", ec2{t: t, status: http.StatusServiceUnavailable}, cloud.Metadata{}, "", true},
		{
			"Compute Engine without an external address",
			computeEngine{`{"accessConfigs":[],"ip":"10.128.0.5"}`},
			inGoogle,
			"google, region europe-west1, zone europe-west1-b, instance web-3", false,
		},
		{
			"Compute Engine with one",
			computeEngine{fmt.Sprintf(nic, "203.0.113.7", "")},
			with(inGoogle, func(m *cloud.Metadata) { m.PublicIPs = ip("203.0.113.7") }), "", false,
		},
		{
			"a node of GKE",
			computeEngine{fmt.Sprintf(nic, "", `"10.4.2.0/24"`)},
			with(inGoogle, func(m *cloud.Metadata) { m.AliasRanges = true }), "", false,
		},
		{"a node of GKE with few pods", computeEngine{fmt.Sprintf(nic, "", `"10.4.2.0/26"`)}, inGoogle, "", false},
		{
			"something else that answers everything",
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, `{"name":"web-3"}`) }),
			cloud.Metadata{},
			"", false,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(tt.service)
			defer srv.Close()
			got, err := cloud.Client{URL: srv.URL, RetryWait: time.Millisecond}.Ask(t.Context())
			if (err != nil) != tt.wantErr {
				t.Errorf("error %v, want %v", err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tt.text != "" && got.String() != tt.text {
				t.Errorf("in words %q, want %q", got, tt.text)
			}
		})
	}
}
