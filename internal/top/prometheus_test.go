package top

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/prom"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// holding is a real Prometheus that holds those samples, as lines of OpenMetrics.
func holding(t *testing.T, samples string) *remote.Prometheus {
	t.Helper()
	dir := t.TempDir()
	if err := prom.Import(t.Context(), kerneltest.Program(t, "promtool", "prometheus"), dir, samples+"# EOF\n"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server, err := prom.Prometheus(ctx, kerneltest.Program(t, "prometheus", "prometheus"), dir, "")
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); server.Wait() })
	p, err := remote.NewPrometheus(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The rows of a fleet in a real Prometheus: the fullest, and those that run out although others hold more.
func TestFromPrometheus(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	now := time.Now()
	add := func(value float64, name, format string, args ...any) {
		for ago := 4; ago >= 0; ago-- {
			fmt.Fprintf(&b, "%s{%s} %g %d\n", name, fmt.Sprintf(format, args...), value, now.Unix()-int64(15*ago))
		}
	}
	const spaces = 130
	for i := range spaces {
		labels := fmt.Sprintf(`instance="10.0.0.%d:9959",budget="web",protocol="tcp"`, i%2)
		of := labels + fmt.Sprintf(`,vip="",destination="203.0.113.%d:443"`, i)
		add(float64(900-i), "snat_ports_held", "%s", of)
		add(float64(i), "snat_ports_cooling", "%s", of)
		left := "+Inf"
		if i == spaces-1 { // the emptiest runs out
			left = "42"
		}
		for ago := 4; ago >= 0; ago-- {
			fmt.Fprintf(&b, "snat_time_to_exhaustion_seconds{%s} %s %d\n", of, left, now.Unix()-int64(15*ago))
		}
	}
	for i := range 2 {
		labels := fmt.Sprintf(`instance="10.0.0.%d:9959",budget="web",protocol="tcp"`, i)
		add(1024, "snat_budget_ports", "%s", labels)
		add(1000, "snat_budget_effective_ports", "%s", labels)
		add(float64(7*i), "snat_open_failures_total", `%s,cause="ports"`, labels)
	}
	p := holding(t, b.String())
	table, err := FromPrometheus(p)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	Sort(table.Rows, ByLeft)
	if len(table.Rows) != fleetRows+1 {
		t.Errorf("%d rows, want the %d fullest and the one that runs out", len(table.Rows), fleetRows)
	}
	want := Row{
		Node: "10.0.0.1:9959", Budget: "web", Protocol: "tcp", Destination: "203.0.113.129:443",
		Held: 771, Cooling: 129, Ports: 1024, Effective: 1000, Left: known(42), Failures: known(7),
	}
	if d := cmp.Diff(want, table.Rows[0]); d != "" {
		t.Errorf("the first row (-want +got):\n%s", d)
	}
	if r := table.Rows[1]; r.Held != 900 || r.Left != nil {
		t.Errorf("the second row %+v, want 900 held and no end in sight", r)
	}
	f := &fleet{ctx: t.Context(), p: p, now: now.Add(-time.Hour), rows: map[string]*Row{}}
	if _, err := f.table(); err == nil || !strings.Contains(err.Error(), "no agent is scraped") {
		t.Errorf("an hour before: error %v", err)
	}
}

// The ports below 1024 of a Linux NAT are port spaces of their own: the row of a full one says so, among many that hold
// more.
func TestFromPrometheusLowPorts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const budget = `instance="10.0.0.1:9959",budget="nat",protocol="udp"`
	var b strings.Builder
	add := func(value int, name, labels string) {
		for ago := 4; ago >= 0; ago-- {
			fmt.Fprintf(&b, "%s{%s} %d %d\n", name, labels, value, now.Unix()-int64(15*ago))
		}
	}
	add(129024, "snat_budget_ports", budget)
	add(118702, "snat_budget_effective_ports", budget)
	for i := range fleetRows + 10 {
		add(2000+i, "snat_ports_held", budget+fmt.Sprintf(`,vip="",destination="203.0.113.%d:443"`, i))
	}
	add(1022, "snat_ports_held", budget+`,vip="ports 1-511",destination="203.0.113.7:123"`)
	table, err := FromPrometheus(holding(t, b.String()))(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	Sort(table.Rows, ByLeft) // none is known, so that the fullest comes first
	want := Row{
		Node: "10.0.0.1:9959", Budget: "nat", Protocol: "udp", VIP: "ports 1-511", Destination: "203.0.113.7:123",
		Held: 1022, Ports: 1022, Effective: 940, NoForecast: true,
	}
	if d := cmp.Diff(want, table.Rows[0]); d != "" {
		t.Errorf("the fullest row (-want +got):\n%s", d)
	}
}

// What a Prometheus lacks, or holds as no number, is said: a row without time left is not one with an hour left.
func TestFromPrometheusThatLacksMetrics(t *testing.T) {
	t.Parallel()
	now := time.Now()
	const budget = `instance="10.0.0.1:9959",budget="web",protocol="tcp"`
	text := ""
	for ago := 4; ago >= 0; ago-- {
		at := now.Unix() - int64(15*ago)
		text += fmt.Sprintf("snat_time_to_exhaustion_seconds{%s,vip=\"\",destination=\"203.0.113.7:443\"} 42 %d\n"+
			"snat_budget_ports{%[1]s} NaN %[2]d\n", budget, at)
	}
	p := holding(t, text)
	table, err := FromPrometheus(p)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []Row{{
		Node: "10.0.0.1:9959", Budget: "web", Protocol: "tcp", Destination: "203.0.113.7:443", Left: known(42),
	}}
	if d := cmp.Diff(want, table.Rows); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	notes := []string{"no numbers here of snat_ports_held, snat_ports_cooling, snat_budget_ports, " +
		"snat_budget_effective_ports: what they tell is not known"}
	if d := cmp.Diff(notes, table.Notes); d != "" {
		t.Errorf("notes (-want +got):\n%s", d)
	}
}

// A fleet of which no row can be shown: the reason is said, and a fleet that holds no port is no error.
func TestFromPrometheusWithoutRows(t *testing.T) {
	t.Parallel()
	const (
		agent    = `instance="10.0.0.1:9959",budget="web"`
		info     = "snat_budget_info{" + agent + "} 1"
		budget   = "snat_budget_ports{" + agent + `,protocol="tcp"} 1024`
		other    = "snat_ports_held{" + agent + `,protocol="tcp",vip="",destination="other"} 0`
		held     = "snat_ports_held{" + agent + `,protocol="tcp",vip="",destination="203.0.113.7:443"} 9`
		stranger = `snat_ports_held{instance="10.0.0.2:9959",budget="web",protocol="tcp",destination="203.0.113.7:443"} 9`
		never    = "snat_time_to_exhaustion_seconds{" + agent + `,protocol="tcp",vip="",destination="203.0.113.7:443"} +Inf`
	)
	for _, tt := range []struct {
		name    string
		samples []string
		want    string // of the error; none where the table is empty
	}{
		{
			"nothing",
			[]string{`up{instance="10.0.0.1:9959"} 1`},
			"has no snat_budget_info, no snat_budget_ports, no snat_ports_held: no agent is scraped",
		},
		{
			"all but the ports held",
			[]string{info, budget, never},
			"has snat_budget_info and snat_budget_ports but no snat_ports_held, which the same agents serve",
		},
		{
			"all but the budgets",
			[]string{other, held, never},
			"has snat_ports_held but no snat_budget_info and no snat_budget_ports, which the same agents serve",
		},
		{
			"instances that differ",
			[]string{info, budget, other, stranger},
			`no snat_ports_held{destination!="other"} has instance, budget and protocol of a snat_budget_ports`,
		},
		{"an idle fleet", []string{info, budget, other}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			text := ""
			for _, s := range tt.samples {
				for ago := 4; ago >= 0; ago-- {
					text += fmt.Sprintf("%s %d\n", s, time.Now().Unix()-int64(15*ago))
				}
			}
			table, err := FromPrometheus(holding(t, text))(t.Context())
			switch {
			case tt.want != "":
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("table %+v, error %v; want %q", table, err, tt.want)
				}
			case err != nil || len(table.Rows) > 0 || !strings.Contains(strings.Join(table.Notes, ""), "no agent sees a port held"):
				t.Errorf("table %+v, error %v; want no row and a note", table, err)
			}
		})
	}
}
