package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func prefixList(ps []netip.Prefix) string { return fmt.Sprint(ps) }

// Every mistake: file, line, key, value and what would be right.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	budget := func(lines ...string) string {
		return "budgets:\n  - name: a\n    " + strings.Join(lines, "\n    ") + "\n"
	}
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"no YAML", "budgets: [", []string{"f.yaml: want YAML: line 1: did not find expected node content"}},
		{"no mapping", "- a", []string{"f.yaml:1: a list: want keys and values: listen, source, strategy, poll_interval, netns, cpu_budget, cloud_metadata, state_file, limits, forecast, destinations, shared_destinations, budgets"}},
		{"two documents", "listen: ':1'\n---\nlisten: ':2'\n", []string{"f.yaml:2: want one YAML document"}},
		{"unknown key", "listen: ':1'\nlisten_address: ':1'\n", []string{"f.yaml:2: listen_address: unknown key: want one of listen, source, strategy, poll_interval, netns, cpu_budget, cloud_metadata, state_file, limits, forecast, destinations, shared_destinations, budgets"}},
		{"unknown key inside", "limits:\n  tracked: 5\n  spaces: 7\n", []string{"f.yaml:3: limits.spaces: unknown key: want one of tracked, forecast, exported"}},
		{"a key that is misspelt", "limits:\n  track: 5\n", []string{"f.yaml:2: limits.track: unknown key, perhaps tracked: want one of tracked, forecast, exported"}},
		{"a key that Go has and YAML has not", "at: 1\n", []string{"f.yaml:1: at: unknown key: want one of listen, source, strategy, poll_interval, netns, cpu_budget, cloud_metadata, state_file, limits, forecast, destinations, shared_destinations, budgets"}},
		{"a key twice", "netns: a\nnetns: b\n", []string{"f.yaml:2: netns: given twice: want each key once"}},
		{"an alias", "netns: &x a\nstate_file: *x\n", []string{"f.yaml:2: state_file: *x: want the value itself: aliases are not read"}},
		{"no value", "listen:\n", []string{`f.yaml:1: listen: "": want one value`}},
		{"no value for what may be left out", budget("model: linux", "evict_time_wait:"), []string{`f.yaml:4: budgets[0].evict_time_wait: "": want a value, or no such key`}},
		{"a source that is none", "source: ebpf", []string{"f.yaml:1: source: ebpf: want auto, conntrack or sockets"}},
		{"a strategy that is none", "strategy: fast", []string{"f.yaml:1: strategy: fast: want auto, poll or events"}},
		{"a duration without a unit", "poll_interval: 10", []string{"f.yaml:1: poll_interval: 10: want a duration such as 10s or 4m"}},
		{"a poll too rare", "poll_interval: 11s", []string{"f.yaml:1: poll_interval: 11s: want 100ms to 10s: the kernel shows a reset flow for 10s"}},
		{"a CPU budget in percent", "cpu_budget: 2", []string{"f.yaml:1: cpu_budget: 2: want a fraction of one core above 0 and up to 1"}},
		{"a CPU budget that is no number", "cpu_budget: .nan", []string{"f.yaml:1: cpu_budget: .nan: want a number"}},
		{"a truth of YAML 1.1", "cloud_metadata: yes", []string{"f.yaml:1: cloud_metadata: yes: want true or false"}},
		{"an empty address", `listen: ""`, []string{`f.yaml:1: listen: "": want an address such as :9959 or 127.0.0.1:9959`}},
		{"an address without a port", "listen: localhost", []string{"f.yaml:1: listen: localhost: want an address such as :9959 or 127.0.0.1:9959"}},
		{"a port that is none", "listen: ':99590'", []string{"f.yaml:1: listen: :99590: want an address such as :9959 or 127.0.0.1:9959"}},
		{"limits", "limits: {tracked: 10, exported: 11, forecast: -1}", []string{
			"f.yaml:1: limits.forecast: -1: want 0 to limits.tracked", "f.yaml:1: limits.exported: 11: want 1 to limits.tracked",
		}},
		{"limits above what is tracked", "limits: {tracked: 10, forecast: 11}", []string{"f.yaml:1: limits.forecast: 11: want 0 to limits.tracked"}},
		{"nothing tracked", "limits: {tracked: 0}", []string{"f.yaml:1: limits.tracked: 0: want 1 to 10000000"}},
		{"a whole number", "limits: {tracked: 1e3}", []string{"f.yaml:1: limits.tracked: 1e3: want a whole number"}},
		{"a CIDR that is no CIDR", "destinations: {exclude: [10.0.0.0/33]}", []string{"f.yaml:1: destinations.exclude[0]: 10.0.0.0/33: want a CIDR such as 203.0.113.0/24 or 2001:db8::/32"}},
		{"an address where a CIDR belongs", "destinations: {exclude: [10.0.0.1]}", []string{"f.yaml:1: destinations.exclude[0]: 10.0.0.1: want a CIDR, such as 10.0.0.1/32 for this address alone"}},
		{"a CIDR with bits beyond", "destinations: {exclude: [10.0.0.1/8]}", []string{"f.yaml:1: destinations.exclude[0]: 10.0.0.1/8: want 10.0.0.0/8: the address has bits beyond the prefix"}},
		{"a mapped CIDR with bits beyond", "destinations: {exclude: ['::ffff:10.0.0.1/104']}", []string{"f.yaml:1: destinations.exclude[0]: ::ffff:10.0.0.1/104: want 10.0.0.0/8: the address has bits beyond the prefix"}},
		{"a mapped address where a CIDR belongs", "destinations: {exclude: ['::ffff:10.0.0.1']}", []string{"f.yaml:1: destinations.exclude[0]: ::ffff:10.0.0.1: want a CIDR, such as 10.0.0.1/32 for this address alone"}},
		{"a mapped prefix included in vain", "destinations: {include: ['::ffff:10.1.0.0/112']}", []string{"f.yaml:1: destinations.include[0]: 10.1.0.0/16: want a prefix that exclude, the default one where none is given, leaves something of"}},
		{"destinations included in vain", "destinations: {include: [203.0.113.0/24, 10.1.0.0/16]}", []string{"f.yaml:1: destinations.include[1]: 10.1.0.0/16: want a prefix that exclude, the default one where none is given, leaves something of"}},
		{"loopback, which no source shows", budget("model: local", "destinations: {include: ['::1/128', 127.0.0.0/8, 0.0.0.0/0], exclude: []}"), []string{
			"f.yaml:4: budgets[0].destinations.include[0]: ::1/128: want a prefix of other machines: no budget counts flows over loopback",
			"f.yaml:4: budgets[0].destinations.include[1]: 127.0.0.0/8: want a prefix of other machines: no budget counts flows over loopback",
		}},
		{"destinations of a budget included in vain", budget("model: linux", "destinations: {include: [10.0.0.0/8], exclude: [10.0.0.0/9, 10.128.0.0/9]}"), []string{"f.yaml:4: budgets[0].destinations.include[0]: 10.0.0.0/8: want a prefix that exclude, the default one where none is given, leaves something of"}},
		{"nodes from elsewhere", budget("model: azure-lb", "nodes_from: consul"), []string{"f.yaml:4: budgets[0].nodes_from: consul: want kubernetes, or no such key"}},
		{"nodes from two places", budget("model: azure-lb", "nodes_file: /n", "nodes_from: kubernetes"), []string{"f.yaml:5: budgets[0].nodes_from: kubernetes: want nodes_from or nodes_file, not both"}},
		{"a selector for nothing", budget("model: azure-lb", "nodes: 5", "nodes_selector: a=b"), []string{"f.yaml:5: budgets[0].nodes_selector: a=b: want nodes_from: kubernetes beside it"}},
		{"a label of two lines", budget("model: linux", `pool: "a\nb"`), []string{`f.yaml:4: budgets[0].pool: "a\nb": want one line of text`}},
		{"a shared destination without a port", "shared_destinations: [203.0.113.7]", []string{"f.yaml:1: shared_destinations[0]: 203.0.113.7: want an address and port such as 203.0.113.7:443, [2001:db8::7]:443 or 203.0.113.7:*"}},
		{"a shared destination by name", "shared_destinations: ['example.org:443']", []string{"f.yaml:1: shared_destinations[0]: example.org:443: want an address and port such as 203.0.113.7:443, [2001:db8::7]:443 or 203.0.113.7:*"}},
		{"a shared destination of a zone", "shared_destinations: ['[fe80::1%eth0]:443']", []string{"f.yaml:1: shared_destinations[0]: [fe80::1%eth0]:443: want an address and port such as 203.0.113.7:443, [2001:db8::7]:443 or 203.0.113.7:*"}},
		{"a shared destination mapped and not", "shared_destinations: ['203.0.113.7:443', '[::ffff:203.0.113.7]:443']", []string{"f.yaml:1: shared_destinations[1]: 203.0.113.7:443: want each destination once"}},
		{"a shared destination twice", "shared_destinations: ['203.0.113.7:443', '203.0.113.7:443']", []string{"f.yaml:1: shared_destinations[1]: 203.0.113.7:443: want each destination once"}},
		{"no name, no model", "budgets: [{}]", []string{"f.yaml:1: budgets[0].name: missing: want the value of the label budget", "f.yaml:1: budgets[0].model: missing: want the model that its ports follow"}},
		{"a name twice", "budgets:\n  - {name: a, model: local}\n  - {name: a, model: linux}\n", []string{"f.yaml:3: budgets[1].name: a: want each name once"}},
		{"a model that is none", budget("model: azure"), []string{"f.yaml:3: budgets[0].model: azure: want one of azure-lb, azure-lb-2018, azure-lb-manual, azure-classic, azure-nat-gateway, azure-app-service, azure-firewall, aws-nat-gateway, gcp-nat-static, gcp-nat-dynamic, oci-nat-gateway, huawei-nat-gateway, linux, cilium, local, instance-ip, static, aws-nat-gateway-regional, alibaba-nat-gateway, tencent-nat-gateway, port-block, pf, or auto"}},
		{"a pool of 0", budget("model: azure-lb", "nodes: 0"), []string{"f.yaml:4: budgets[0].nodes: 0: want a number above 0, or no such key"}},
		{"ports of 0", budget("model: azure-lb-manual", "ports: 0"), []string{"f.yaml:4: budgets[0].ports: 0: want a number above 0, or no such key"}},
		{"a VIP that is none", budget("model: linux", "vips: [203.0.113.1, 203.0.113.256]"), []string{"f.yaml:4: budgets[0].vips[1]: 203.0.113.256: want an address such as 203.0.113.7 or 2001:db8::7"}},
		{"VIPs that are no list", budget("model: linux", "vips: 203.0.113.1"), []string{"f.yaml:4: budgets[0].vips: 203.0.113.1: want a list"}},
		{"a port range upside down", budget("model: linux", "port_range: 2047-1024"), []string{"f.yaml:4: budgets[0].port_range: 2047-1024: want first-last, each a port from 1 to 65535, first not above last"}},
		{"a port range beyond", budget("model: linux", "port_range: 1024-65536"), []string{"f.yaml:4: budgets[0].port_range: 1024-65536: want first-last, each a port from 1 to 65535, first not above last"}},
		{"a uniqueness that is none", budget("model: azure-lb", "udp: {unique: strict}"), []string{"f.yaml:4: budgets[0].udp.unique: strict: want endpoint, address or nothing"}},
		{"a reason that is none", budget("model: linux", "tcp: {cool_down: {close: 1s}}"), []string{"f.yaml:4: budgets[0].tcp.cool_down.close: unknown key: want one of fin, rst, timeout, idle, evicted, unknown"}},
		{"auto with VIPs of its own", budget("model: auto", "vips: [203.0.113.1]"), []string{"f.yaml:4: budgets[0].vips: given: want a model that takes it: model auto finds out for itself"}},
		{"all mistakes at once", "listen: [1]\npoll_interval: soon\n", []string{"f.yaml:1: listen: a list: want one value", "f.yaml:2: poll_interval: soon: want a duration such as 10s or 4m"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse("f.yaml", []byte(tt.yaml))
			var errs Errors
			if !errors.As(err, &errs) || c != nil {
				t.Fatalf("got %v, %v, want Errors", c, err)
			}
			if got, want := err.Error(), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestParseAccepts(t *testing.T) {
	t.Parallel()
	for _, y := range []string{"", "# nothing\n", "{}", "---\nlisten: ':1'\n", "budgets: []\n"} {
		if _, err := Parse("f.yaml", []byte(y)); err != nil {
			t.Errorf("%q: %v", y, err)
		}
	}
	c, err := Parse("f.yaml", []byte(`
poll_interval: 1s5ms
shared_destinations: ["[2001:DB8:0::7]:443", "203.0.113.7:*", "[2001:db8::7]:*", "[::ffff:203.0.113.7]:443", "[::ffff:203.0.113.8]:*"]
destinations: {exclude: ["::ffff:10.0.0.0/104", "::ffff:0:0/96", "::/0"]}
limits: {tracked: 500}
budgets:
  - {name: a, model: linux, vips: ["::ffff:203.0.113.1"], port_range: "80", evict_time_wait: false, tcp: {idle: 0s}}
`))
	if err != nil {
		t.Fatal(err)
	}
	b := c.Budgets[0]
	got := fmt.Sprint(c.PollInterval, c.SharedDestinations, c.Destinations.Exclude, c.Limits, b.VIPs, b.PortRange, *b.EvictTimeWait, *b.TCP.Idle)
	if want := "1.005s [[2001:db8::7]:443 203.0.113.7:* [2001:db8::7]:* 203.0.113.7:443 203.0.113.8:*] [10.0.0.0/8 0.0.0.0/0 ::/0] {500 500 50} [203.0.113.1] {{80 80}} false 0s"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The embedded default stays what it is for.
func TestDefault(t *testing.T) {
	t.Parallel()
	c, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Budgets) != 1 || c.Budgets[0].Model != ModelAuto || c.PollInterval != 2*time.Second || !c.Forecast.Enabled {
		t.Errorf("%+v", c)
	}
	if _, err := Load("no/such/file.yaml"); err == nil {
		t.Error("a file that is not there: no error")
	}
}

// A config that was cut off, or is still being written, must not replace budgets by defaults.
func TestEmptyFileIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "comments": "# budgets:\n# - name: web\n", "blank": "\n\n"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "f.yaml")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := Load(path)
			if c != nil || err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "at least one key") {
				t.Errorf("config %v, error %v; want an error that names the file and what would be right", c, err)
			}
		})
	}
}

// Any bytes: a configuration or mistakes, and never both or neither.
func FuzzParse(f *testing.F) {
	f.Add(string(defaultYAML))
	f.Add("budgets:\n- {name: a, model: azure-lb, nodes: 1001, vips: [203.0.113.1, 203.0.113.1]}\n")
	f.Add("destinations: {include: [10.0.0.0/8], exclude: ['::/0']}\nlimits: {tracked: -1}\n")
	f.Add("a: &a [*a]\n<<: *a\n? [x]\n: y\n")
	f.Fuzz(func(t *testing.T, y string) {
		c, err := Parse("f.yaml", []byte(y))
		if (c == nil) == (err == nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if c == nil {
			return
		}
		if budgets, _, err := c.Resolve(Machine{}); (budgets == nil) == (err == nil) && len(c.Budgets) > 0 {
			t.Fatalf("resolved to %v, %v", budgets, err)
		}
	})
}
