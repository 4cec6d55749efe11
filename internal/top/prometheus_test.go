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

// The rows of a fleet in a real Prometheus: the fullest, and those that run out although others hold more.
func TestFromPrometheus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
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
	b.WriteString("# EOF\n")
	if err := prom.Import(t.Context(), kerneltest.Program(t, "promtool", "prometheus"), dir, b.String()); err != nil {
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
	empty, err := remote.NewPrometheus(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{ctx: t.Context(), p: empty, now: now.Add(-time.Hour), rows: map[string]*Row{}}
	if _, err := f.table(); err == nil || !strings.Contains(err.Error(), "no agent is scraped") {
		t.Errorf("an hour before: error %v", err)
	}
}

// What a Prometheus lacks, or holds as no number, is said: a row without time left is not one with an hour left.
func TestFromPrometheusThatLacksMetrics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	const budget = `instance="10.0.0.1:9959",budget="web",protocol="tcp"`
	text := ""
	for ago := 4; ago >= 0; ago-- {
		at := now.Unix() - int64(15*ago)
		text += fmt.Sprintf("snat_time_to_exhaustion_seconds{%s,vip=\"\",destination=\"203.0.113.7:443\"} 42 %d\n"+
			"snat_budget_ports{%[1]s} NaN %[2]d\n", budget, at)
	}
	if err := prom.Import(t.Context(), kerneltest.Program(t, "promtool", "prometheus"), dir, text+"# EOF\n"); err != nil {
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
