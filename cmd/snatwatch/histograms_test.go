package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/plan/measured"
	"github.com/snatwatch/snatwatch/internal/prom"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// histogramServers are the ways in which Prometheus 3 keeps a histogram that is classic and native.
var histogramServers = []struct{ name, config string }{
	{"classic", ""},
	{"native", "scrape_native_histograms: true"},
	{"native and classic", "scrape_native_histograms: true, always_scrape_classic_histograms: true"},
	{"native with classic bounds", "convert_classic_histograms_to_nhcb: true"},
}

// Flows of an agent live for three seconds and hold their ports for eight. Boards, alerts and plan read these times from a
// Prometheus 3, however it keeps histograms. ENGINES names the folder of its program; .ci/engines builds it.
func TestKernelHistogramsOfEveryKind(t *testing.T) {
	programs := os.Getenv("ENGINES")
	if programs == "" {
		t.Skip("ENGINES names no folder of programs: .ci/engines builds them")
	}
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	const lifetime, coolDown = 3 * time.Second, 5 * time.Second
	l, to := oneVIP(t, 9999)
	a := agentOn(t, l.Router(), fmt.Sprintf(
		"{name: cloud, model: static, vips: [%s], tcp: {ports: 1000, cool_down: {fin: %s, rst: %[2]s, unknown: %[2]s}}}",
		lab.VIP(0), coolDown), "--source=conntrack", "--strategy=poll")
	var servers []*prom.Server
	for _, s := range histogramServers {
		comma := ""
		if s.config != "" {
			comma = ", "
		}
		p, err := prom.Prometheus(t.Context(), filepath.Join(programs, "prometheus"), t.TempDir(), fmt.Sprintf(
			"global: {scrape_interval: 1s, scrape_timeout: 1s}\n"+
				"scrape_configs: [{job_name: snatwatch%s%s, static_configs: [{targets: [%q], labels: {cluster: c}}]}]\n",
			comma, s.config, strings.TrimPrefix(a.url, "http://")))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, p)
	}
	startLoad(t, l.Node(0), to, 100*time.Millisecond, lifetime)
	released := `snat_hold_seconds_count{budget="cloud",protocol="tcp"}`
	a.within(2*time.Minute, "ports are released", func() bool { return a.value(released) > 100 })
	// What the agent has counted from its first flow on.
	hold := a.value(strings.Replace(released, "_count", "_sum", 1)) / a.value(released)
	for i, p := range servers {
		t.Run(histogramServers[i].name, func(t *testing.T) { checkHistograms(t, a, p, hold, i > 0) })
	}
}

// checkHistograms asks a server that keeps native histograms or not; the agent's flows hold their ports for so long.
func checkHistograms(t *testing.T, a *runningAgent, p *prom.Server, hold float64, native bool) {
	t.Helper()
	instance := strings.TrimPrefix(a.url, "http://")
	server, err := remote.NewPrometheus(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(expr string) []remote.Sample {
		t.Helper()
		samples, err := server.Query(t.Context(), expr, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return samples
	}
	asked := 0
	for _, q := range histogramQueries(t, instance) {
		asked++
		var answer []remote.Sample
		a.eventually("it answers "+q, func() bool { answer = ask(q); return len(answer) > 0 })
		// The ends of ports that are given back are seen half a second late at most, and classic buckets are a factor of
		// two wide.
		mean := answer[0].Value
		if h := answer[0].Buckets; h != nil {
			mean = meanOf(h.Bounds, h.Counts)
		} else if _, classic := answer[0].Labels["le"]; classic {
			mean = meanOfClassic(t, answer)
		}
		if got := answer[0].Buckets != nil; strings.Contains(q, "by (le)") && got != native {
			t.Errorf("%s: the answer is a native histogram: %v, want %v", q, got, native)
		}
		want := hold
		if strings.Contains(q, "lifetime") {
			want = hold - 5
		}
		if !(mean > want/1.5 && mean < 1.5*want) {
			t.Errorf("%s: a mean of %.2f s, want about %.2f", q, mean, want)
		}
	}
	if asked < 4 {
		t.Errorf("only %d queries of boards and alerts read a histogram", asked)
	}
	in, err := measured.FromPrometheus(t.Context(), server, measured.Fleet{
		Budget: "cloud", Range: time.Hour, Now: time.Now(),
	})
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	if mean := in.Demand.Lifetimes.Mean(); !(mean > 2 && mean < 4.5) {
		t.Errorf("plan: flows live for %.2f s, want about 3", mean)
	}
}

// histogramQueries returns what panels and texts of alerts ask of histograms, over fifteen seconds.
func histogramQueries(t *testing.T, instance string) (queries []string) {
	t.Helper()
	fill := strings.NewReplacer("$__rate_interval", "15s", `"$instance`, `"`+instance, "$cluster", ".*", "$job", ".*",
		"$budget", ".*", "$pool", ".*", "$slow_clusters", ".*")
	boards, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(boards) == 0 {
		t.Fatalf("no boards: %v", err)
	}
	for _, path := range boards {
		body, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"expr": ("(?:[^"\\]|\\.)*")`).FindAllSubmatch(body, -1) {
			var expr string
			if err := json.Unmarshal(m[1], &expr); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(expr, "snat_hold_seconds") || strings.Contains(expr, "snat_lifetime_seconds") {
				queries = append(queries, fill.Replace(expr))
			}
		}
	}
	text, err := os.ReadFile("../../rules/snatwatch-alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// The last of the texts is of an hour ago.
	labels := strings.NewReplacer("%[1]q", `"c"`, "%[2]q", `"snatwatch"`, "%[3]q", `"`+instance+`"`, "%[4]q", `"cloud"`,
		"%[5]q", `"tcp"`, "[10m]", "[15s]")
	for _, m := range regexp.MustCompile("printf `([^`]*snat_hold_seconds[^`]*)`").FindAllSubmatch(text, -1) {
		if expr := string(m[1]); !strings.Contains(expr, "offset") {
			queries = append(queries, labels.Replace(expr))
		}
	}
	return queries
}

// meanOf returns the mean of what buckets counted. It takes each value at the geometric mean of its bucket's bounds.
func meanOf(bounds, counts []float64) float64 {
	sum, n := 0.0, 0.0
	for i, c := range counts {
		at := bounds[min(i, len(bounds)-1)]
		if i > 0 && i < len(bounds) && bounds[i-1] > 0 {
			at = math.Sqrt(bounds[i-1] * bounds[i])
		}
		sum, n = sum+at*c, n+c
	}
	return sum / n
}

// meanOfClassic is meanOf of series with the label le.
func meanOfClassic(t *testing.T, all []remote.Sample) float64 {
	t.Helper()
	le := func(s remote.Sample) (bound float64) {
		if _, err := fmt.Sscan(s.Labels["le"], &bound); err != nil {
			t.Fatal(err)
		}
		return bound
	}
	slices.SortFunc(all, func(x, y remote.Sample) int { return cmp.Compare(le(x), le(y)) })
	var bounds, counts []float64
	before := 0.0
	for _, s := range all {
		if bound := le(s); !math.IsInf(bound, 1) {
			bounds = append(bounds, bound)
		}
		counts = append(counts, s.Value-before)
		before = s.Value
	}
	return meanOf(bounds, counts)
}
