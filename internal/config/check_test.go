package config

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// nowhere is a metadata service that does not answer.
func nowhere(t *testing.T) cloud.Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return cloud.Client{URL: "http://" + l.Addr().String()}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheck(t *testing.T) {
	t.Parallel()
	path := write(t, "f.yaml", `
budgets:
  - {name: web, model: azure-lb-2018, pool: blue, nodes: 48, vips: [198.51.100.1, 198.51.100.2], destinations: {include: [203.0.113.0/24]}}
  - {name: last, model: azure-lb, nodes: 900, vip_count: 1, udp: {ports: 0}, destinations: {include: [192.0.2.0/25], exclude: [192.0.2.1/32]}}
  - {name: gateway, model: aws-nat-gateway, vip_count: 2, destinations: {include: [192.0.2.128/25]}}
  - {name: router, model: linux, vips: [198.51.100.3, 198.51.100.4, 198.51.100.5, 198.51.100.6, 198.51.100.7], space_per_vip: true, port_range: 1024-2047,
     evict_time_wait: false, destinations: {include: [198.51.100.0/24, 198.18.0.0/15, 100.64.0.0/10], exclude: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}}
`)
	var out bytes.Buffer
	if err := Check(t.Context(), &out, path, nowhere(t), nil); err != nil {
		t.Fatal(err)
	}
	want := `BUDGET   MODEL            SCOPE   VIPS                                                                                 NODES  NEXT TIER                           DESTINATIONS                  ASSUMED
web      azure-lb-2018    node    2 (198.51.100.1, 198.51.100.2)                                                       48     1024 ports from 51 nodes on         203.0.113.0/24                tcp.cool_down.rst
last     azure-lb         node    1                                                                                    900    none, the table ends at 1000 nodes  192.0.2.0/25 but 192.0.2.1/32  tcp.cool_down.rst
gateway  aws-nat-gateway  shared  2                                                                                    -      -                                   192.0.2.128/25                tcp.cool_down.fin, tcp.cool_down.rst
router   linux            node    5 (198.51.100.3, 198.51.100.4, 198.51.100.5, 198.51.100.6, …), a port space each, ports 1024-2047    -      -                                   3 prefixes but 3 prefixes     nothing

BUDGET   PROTOCOL  PORTS   EFFECTIVE  UNIQUE PER  IDLE      HALF-OPEN  COOL-DOWN FIN  RST  TIMEOUT  IDLE  EVICTED  UNKNOWN
web      tcp       2048    2048       endpoint    4m        4m         4m             15s  0s       0s    4m       4m
web      udp       2048    2048       address     4m        4m         0s             0s   0s       0s    0s       0s
last     tcp       32      32         endpoint    4m        4m         4m             15s  0s       0s    4m       4m
last     udp       none
gateway  tcp       110000  110000     endpoint    5m50s     5m50s      1m             16s  0s       0s    1m       1m
gateway  udp       110000  110000     endpoint    5m50s     5m50s      0s             0s   0s       0s    0s       0s
router   tcp       1024    942        endpoint    kernel's  kernel's   2m             10s  0s       0s    0s       0s
router   udp       1024    942        endpoint    kernel's  kernel's   0s             0s   0s       0s    0s       0s
`
	got, rest, _ := strings.Cut(out.String(), "\n\nazure-lb-2018: numbers from ")
	squeeze := func(s string) (lines []string) {
		for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
			lines = append(lines, strings.Join(strings.Fields(l), " "))
		}
		return lines
	}
	if diff := cmp.Diff(squeeze(want), squeeze(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, model := range []string{"azure-lb-2018", "azure-lb", "aws-nat-gateway", "linux"} {
		if !strings.Contains(rest, model+": exhaustion shows as ") {
			t.Errorf("no failure signal of %s in:\n%s", model, rest)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, yaml, want string }{
		{"a mistake in the file", "budgets: [{name: a, model: azure-lb, nodes: 1, vips: [x]}]", "budgets[0].vips[0]: x: want an address"},
		{"a mistake of a model", "budgets: [{name: a, model: azure-lb, nodes: 1001}]", "budgets[0].nodes: 1001: want 1 to 1000"},
		{"a namespace that is not there", "netns: snatwatch-no-such", "netns: snatwatch-no-such: want a network namespace that is there: open /run/netns/snatwatch-no-such: no network namespace is there"},
		{"a namespace of a budget", "budgets: [{name: a, model: local, netns: /no/such}]", "budgets[0].netns: /no/such: want a network namespace that is there"},
		{"a file where a namespace belongs", "netns: /proc/self/stat", "netns: /proc/self/stat: want a network namespace that is there: open /proc/self/stat: no network namespace is there: something else is"},
		{"a pool size that is not there", "budgets: [{name: a, model: azure-lb, nodes_file: /no/such}]", "budgets[0].nodes_file: /no/such: want a file that holds the pool size"},
		{"a state file that is a device", "state_file: /dev/null", "state_file: /dev/null: want a regular file, or none yet in a directory that is there: /dev/null is no regular file"},
		{"a state file that is a directory", "state_file: /proc", "state_file: /proc: want a regular file"},
		{"a state file in a directory that is not there", "state_file: /no/such/file", "state_file: /no/such/file: want a regular file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "f.yaml", tt.yaml)
			var out bytes.Buffer
			err := Check(t.Context(), &out, path, nowhere(t), nil)
			if err == nil || !strings.HasPrefix(err.Error(), path+":1: "+tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if out.Len() > 0 {
				t.Errorf("printed %q", out.String())
			}
		})
	}
}

// Where the machine is, and the gateway that it must be behind, as Google's metadata server tells.
func TestCheckNamesTheCloud(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Metadata-Flavor", "Google")
		if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Path != "/computeMetadata/v1/instance/" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = fmt.Fprint(w, `{"id":42,"name":"web-3","zone":"projects/1/zones/europe-west1-b","networkInterfaces":[{"accessConfigs":[]}]}`)
	}))
	defer srv.Close()
	var out bytes.Buffer
	path := write(t, "f.yaml", "budgets: [{name: out, model: auto}]\n")
	if err := Check(t.Context(), &out, path, cloud.Client{URL: srv.URL}, nil); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\ncloud: google, region europe-west1, zone europe-west1-b, instance web-3\n",
		"gcp-nat-static  node ", "note: out: this instance of google, region europe-west1, zone europe-west1-b, instance web-3 has no external address",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

// Azure's metadata are asked only where VIPs are open, and not at all if told so.
func TestDiscoverCloud(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, yaml string
		asked      bool
	}{
		{"azure-lb without VIPs", "budgets: [{name: a, model: azure-lb, nodes: 60}]", true},
		{"azure-lb with VIPs", "budgets: [{name: a, model: azure-lb, nodes: 60, vips: [203.0.113.1]}]", false},
		{"azure-lb with a number of VIPs", "budgets: [{name: a, model: azure-lb, nodes: 60, vip_count: 2}]", false},
		{"another model", "budgets: [{name: a, model: aws-nat-gateway}]", false},
		{"told not to", "cloud_metadata: false\nbudgets: [{name: a, model: azure-lb, nodes: 60}]", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			asked := false
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = true
				if r.URL.Path == "/metadata/instance" {
					_, _ = fmt.Fprint(w, `{"compute":{}}`)
					return
				}
				_, _ = fmt.Fprint(w, `{"loadbalancer":{"outboundRules":[{"frontendIpAddress":"203.0.113.1"},{"frontendIpAddress":"203.0.113.2"}]}}`)
			}))
			defer srv.Close()
			c, err := Parse("f.yaml", []byte(tt.yaml))
			if err != nil {
				t.Fatal(err)
			}
			own, err := c.OpenOuter()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = own.Close() }()
			m, err := Discover(t.Context(), c, own, Machine{}, cloud.Client{URL: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			if asked != tt.asked {
				t.Errorf("asked %v, want %v", asked, tt.asked)
			}
			budgets, _, err := c.Resolve(m)
			if err != nil {
				t.Fatal(err)
			}
			if tt.asked && budgets[0].TCP.Ports != 1024 {
				t.Errorf("60 nodes with two VIPs: %d ports", budgets[0].TCP.Ports)
			}
		})
	}
}

// The rules, the ports and the inode of the namespace named, not of the caller's.
func TestKernelDiscover(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	conn, err := nftables.New(nftables.WithNetNSFd(ns.FD()))
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "nat"})
	chain := conn.AddChain(&nftables.Chain{
		Name: "post", Table: table, Type: nftables.ChainTypeNAT,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Immediate{Register: 1, Data: []byte{198, 51, 100, 1}},
		&expr.Immediate{Register: 2, Data: []byte{198, 51, 100, 2}},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegAddrMax: 2},
	}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	err = ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("10000 10099"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	nodes := write(t, "nodes", "7\n")
	path := fmt.Sprintf("/proc/self/fd/%d", ns.FD())
	c, err := Parse("f.yaml", fmt.Appendf(nil, "netns: %s\nbudgets:\n- {name: nat, model: auto, nodes_file: %s}\n- {name: own, model: local, netns: %s, nodes: 3, nodes_file: /no/such}\n", path, nodes, path))
	if err != nil {
		t.Fatal(err)
	}
	m, err := Discover(context.Background(), c, ns, Machine{}, nowhere(t))
	if err != nil {
		t.Fatal(err)
	}
	if want := (collector.PortRange{First: 10000, Last: 10099}); m.Limits.LocalPorts != want {
		t.Errorf("local ports %v, want %v", m.Limits.LocalPorts, want)
	}
	if m.Netns[path] != ns.Inode() {
		t.Errorf("namespace %d, want %d", m.Netns[path], ns.Inode())
	}
	budgets, notes, err := c.Resolve(m)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range budgets {
		got = append(got, text(b))
	}
	want := []string{
		fmt.Sprintf("own: local, ports 100/100 effective 100/100, vips [] count 1 each false, range 10000-10099, nodes 3, netns %d, 0 in 0 out", ns.Inode()),
		"nat: linux, ports 64512/64512 effective 59351/59351, vips [198.51.100.1 198.51.100.2] count 2 each true, range 0-0, nodes 7, netns 0, 1 in 0 out",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("budgets (-want +got):\n%s", diff)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "/no/such") {
		t.Errorf("notes %q, want one about the file that is not there", notes)
	}
}

// check names EC2's own connection tracking, which is in no budget.
func TestPrintAllowances(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := printAllowances(&b, []limits.Allowance{
		{Interface: "ens5", Available: 136_812, Known: true}, {Interface: "ens6", Exceeded: 7},
	})
	want := "EC2 tracks connections of ens5: 136812 more now; beside all budgets, in and out, whatever their ports\n" +
		"EC2 tracks connections of ens6: the driver does not tell how many more (from ena 2.8.1 on it does); beside all " +
		"budgets, in and out, whatever their ports\n"
	if b.String() != want || err != nil {
		t.Errorf("%q, %v, want %q", b.String(), err, want)
	}
}
