package config

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A NAT of this machine hides neither the cloud's behind it nor the ephemeral ports before it. Each keeps its name while
// others come and go.
func TestAutoAtEachStage(t *testing.T) {
	t.Parallel()
	rules := natrules.Ruleset{
		Read: true, Private: true, Addresses: addrs("10.0.0.4", "172.17.0.1"),
		Rules: []natrules.Rule{{Masquerade: true, SpacePerVIP: true, TCP: true, UDP: true}},
	}
	none := natrules.Ruleset{Read: true}
	azure := cloud.Metadata{Provider: "azure", VIPs: addrs("203.0.113.1")}
	public := cloud.Metadata{Provider: "azure", PublicIPs: addrs("203.0.113.7")}
	aws := cloud.Metadata{Provider: "aws", Region: "eu-central-1", Zone: "eu-central-1a", Instance: "i-0", Network: "vpc-1"}
	awsPublic := cloud.Metadata{Provider: "aws", PublicIPs: addrs("203.0.113.7")}
	google := cloud.Metadata{Provider: "google", Zone: "europe-west1-b", AliasRanges: true}
	const guess = "its metadata do not show"
	const private = "are private, so another NAT translates them again"
	const poolSize = "does not tell the pool size"
	type look struct {
		rules natrules.Ruleset
		cloud cloud.Metadata
		want  string
		note  string // in the only note; empty is none
	}
	tests := []struct {
		name, yaml string
		looks      []look
	}{
		{"docker's rule on an Azure VM", "{name: nat, model: auto, nodes: 60}", []look{
			{rules, azure, "nat linux 64512, nat-azure-lb azure-lb 512, nat-local local 28232", ""},
			{none, azure, "nat-azure-lb azure-lb 512", ""},
			{rules, azure, "nat linux 64512, nat-azure-lb azure-lb 512, nat-local local 28232", ""},
		}},
		{"a rule that comes later", "{name: nat, model: auto, nodes: 60}", []look{
			{none, azure, "nat azure-lb 512", ""},
			{rules, azure, "nat-masquerade linux 64512, nat azure-lb 512, nat-local local 28232", ""},
			{none, azure, "nat azure-lb 512", ""},
		}},
		{"no pool size", "{name: nat, model: auto}", []look{
			{rules, azure, "nat linux 64512, nat-local local 28232", poolSize},
			{none, azure, "nat-local local 28232", poolSize},
		}},
		{"a load balancer that is configured", "{name: nat, model: auto}, {name: lb, model: azure-lb, nodes: 60}", []look{
			{rules, azure, "lb azure-lb 512, nat linux 64512, nat-local local 28232", ""},
		}},
		{"a public IP of its own", "{name: nat, model: auto}", []look{
			{rules, public, "nat linux 64512, nat-instance-ip instance-ip 28232", ""},
			{none, public, "nat-instance-ip instance-ip 28232", ""},
		}},
		{"a node of EKS without a public address", "{name: nat, model: auto}", []look{
			{rules, aws, "nat linux 64512, nat-aws-nat-gateway aws-nat-gateway 55000, nat-local local 28232", guess},
			{none, aws, "nat-aws-nat-gateway aws-nat-gateway 55000", guess},
		}},
		{"an instance of AWS with a public address", "{name: nat, model: auto}", []look{
			{none, awsPublic, "nat instance-ip 28232", ""},
		}},
		{"a node of GKE behind Cloud NAT", "{name: nat, model: auto}", []look{
			{rules, google, "nat linux 64512, nat-gcp-nat-static gcp-nat-static 1024, nat-local local 28232", guess},
		}},
		{"a gateway of AWS that is configured", "{name: nat, model: auto}, {name: gw, model: aws-nat-gateway-regional, vip_count: 3}", []look{
			{rules, aws, "gw aws-nat-gateway-regional 165000, nat linux 64512, nat-local local 28232", ""},
		}},
		{"no cloud", "{name: nat, model: auto}", []look{
			{rules, cloud.Metadata{}, "nat linux 64512, nat-local local 28232", private},
		}},
		{"ephemeral ports that are configured", "{name: nat, model: auto}, {name: own, model: local}", []look{
			{rules, cloud.Metadata{}, "own local 28232, nat linux 64512", private},
		}},
	}
	for _, tt := range tests {
		c := parse(t, "budgets: ["+tt.yaml+"]")
		m := Machine{Limits: collector.Limits{Netns: 1}}
		for i, l := range tt.looks {
			m.Rules, m.Cloud = l.rules, l.cloud
			budgets, notes, err := c.Resolve(m)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, b := range budgets {
				got = append(got, fmt.Sprintf("%s %s %d", b.Name, b.Model, b.TCP.Ports))
				if b.Translated && !slices.Equal(b.Own, l.rules.Addresses) {
					t.Errorf("%s: own addresses %v", tt.name, b.Own)
				}
			}
			if diff := cmp.Diff(l.want, strings.Join(got, ", ")); diff != "" {
				t.Errorf("%s, look %d (-want +got):\n%s", tt.name, i, diff)
			}
			notes = slices.DeleteFunc(notes, func(n string) bool { return strings.Contains(n, "neither vips nor") })
			if all := strings.Join(notes, "\n"); (l.note == "") != (all == "") || !strings.Contains(all, l.note) || len(notes) > 1 {
				t.Errorf("%s, look %d: notes %q, want %q", tt.name, i, notes, l.note)
			}
			m.Standing = budgets
		}
	}
}

// The rules of a cluster's node in Azure, and its load balancer as the metadata tell of it: check says through what a
// flow passes.
func TestKernelCheckShowsStages(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	kerneltest.Uplink(t, ns, "eth0", "10.224.0.4/16")
	_ = kerneltest.Program(t, "iptables-nft-restore", "iptables")
	rules, err := os.ReadFile("../../collector/natrules/testdata/rules/k12-aks.rules")
	if err != nil {
		t.Fatal(err)
	}
	kerneltest.Command(t, ns, "sh", "-c", "iptables-nft-restore <<'E'\n"+string(rules)+"E")
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metadata/instance" {
			_, _ = fmt.Fprint(w, `{"compute":{},"network":{"interface":[]}}`)
			return
		}
		_, _ = fmt.Fprint(w, `{"loadbalancer":{"outboundRules":[{"frontendIpAddress":"203.0.113.1"}]}}`)
	}))
	t.Cleanup(service.Close)
	path := write(t, "f.yaml", fmt.Sprintf("netns: /proc/self/fd/%d\nbudgets: [{name: auto, model: auto, nodes: 48}]\n", ns.FD()))
	var out bytes.Buffer
	if err := Check(t.Context(), &out, path, cloud.Client{URL: service.URL}, nil); err != nil {
		t.Fatal(err)
	}
	const want = "stages: ports of this machine (auto-local: local, 28232 ports) → NAT of this machine (auto: linux, 64512 ports) → " +
		"NAT beyond this machine (auto-azure-lb: azure-lb, 1024 ports); the tightest is auto-azure-lb\n"
	if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "note: ") {
		t.Errorf("no chain of stages, or a note, in:\n%s", out.String())
	}
}
