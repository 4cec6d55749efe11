package measured

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/prom"
	"github.com/snatwatch/snatwatch/internal/remote"
	"github.com/snatwatch/snatwatch/rules/records"
)

// series is one series of a made fleet: its value at so many minutes after the beginning.
type series struct {
	name, labels string
	value        func(minute int) float64
}

// store writes series, a sample each four minutes for so many days until now, into the database of a Prometheus.
func store(t *testing.T, days int, now time.Time, all []series) *remote.Prometheus {
	t.Helper()
	dir := t.TempDir()
	promtool := kerneltest.Program(t, "promtool", "prometheus")
	program := kerneltest.Program(t, "prometheus", "prometheus")
	var b strings.Builder
	from := now.Add(-time.Duration(days) * 24 * time.Hour)
	for _, s := range all {
		for m := 0; m <= days*24*60; m += 4 {
			v := s.value(m)
			if math.IsNaN(v) {
				continue
			}
			fmt.Fprintf(&b, "%s{%s} %g %d\n", s.name, s.labels, v, from.Add(time.Duration(m)*time.Minute).Unix())
		}
	}
	b.WriteString("# EOF\n")
	if err := prom.Import(t.Context(), promtool, dir, b.String()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server, err := prom.Prometheus(ctx, program, dir, "global: {scrape_interval: 1m}\n")
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

// fleet are the metrics of so many nodes with a cool-down of 240 s. Each node takes opens per second between nine and ten
// o'clock, UTC of the beginning, and a tenth of that otherwise. Lifetimes are 6 s.
func fleet(nodes int, opens func(day int) float64) []series {
	var all []series
	rate := func(m int) float64 {
		if m/60%24 == 9 {
			return opens(m / 1440)
		}
		return opens(m/1440) / 10
	}
	held := func(lifetime float64) func(int) float64 {
		return func(m int) float64 { return math.Round(rate(m) * lifetime) }
	}
	total := func(per float64) func(int) float64 { // a counter
		sum, last := 0.0, -1
		return func(m int) float64 {
			for ; last < m; last++ {
				sum += 60 * per * rate(last+1)
			}
			return sum
		}
	}
	constant := func(v float64) func(int) float64 { return func(int) float64 { return v } }
	for n := range nodes {
		node := fmt.Sprintf(`instance="10.0.0.%d:9959",budget="web"`, n+1)
		tcp := node + `,protocol="tcp"`
		space := tcp + `,vip="",gateway="",destination="203.0.113.7:443"`
		other := tcp + `,vip="",gateway="",destination="203.0.113.8:443"`
		all = append(all,
			series{"snat_budget_info", node + `,model="azure-lb-2018",scope="node",pool="web",gateway="",assumed="false"`, constant(1)},
			series{"snat_budget_ports", tcp, constant(1024)},
			series{"snat_pool_nodes", node, constant(float64(nodes))},
			series{"snat_vips", node, constant(1)},
			series{"snat_busiest_ports_held", tcp, held(246)},
			series{"snat_ports_held", space, held(246)}, series{"snat_ports_held", other, held(61.5)},
			series{"snat_ports_live", space, held(6)}, series{"snat_ports_cooling", space, held(240)},
			series{"snat_flows_opened_total", tcp, total(1)},
			series{"snat_flows_closed_total", tcp + `,reason="fin"`, total(1)},
			series{"snat_lifetime_seconds_bucket", tcp + `,le="4"`, constant(0)},
			series{"snat_lifetime_seconds_bucket", tcp + `,le="8"`, total(1)},
			series{"snat_lifetime_seconds_bucket", tcp + `,le="+Inf"`, total(1)},
			series{"snat_lifetime_seconds_sum", tcp, total(6)}, series{"snat_lifetime_seconds_count", tcp, total(1)},
			series{"snat_hold_seconds_sum", tcp, total(246)}, series{"snat_hold_seconds_count", tcp, total(1)},
			series{"node_cpu_seconds_total", fmt.Sprintf(`instance="10.0.0.%d:9100",mode="idle",cpu="0"`, n+1), func(m int) float64 { return 48 * float64(m) }},
		)
	}
	return all
}

// numbered gives a fleet a budget and addresses of its own.
func numbered(n int, fleet []series) []series {
	for i := range fleet {
		fleet[i].labels = strings.NewReplacer(`budget="web"`, fmt.Sprintf(`budget="web-%d"`, n), `"10.0.0.`, fmt.Sprintf(`"10.0.%d.`, n)).
			Replace(fleet[i].labels)
	}
	return fleet
}

func TestFromPrometheus(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	opens := func(day int) float64 { return 3 * math.Exp2(float64(day)/8) } // doubles in eight days
	p := store(t, 8, now, fleet(2, opens))
	in, err := FromPrometheus(t.Context(), p, Fleet{Range: 8 * 24 * time.Hour, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	d := &in.Demand
	t.Logf("%+v", in)
	// The mean over the days of 3 × 2^(day/8) is 4.14; the most of an hour at random is above its mean, by 7 % here.
	if d.Destination != "203.0.113.7:443" || d.Rate < 3.7 || d.Rate > 4.1 || d.Peak < time.Hour || d.Peak > 66*time.Minute {
		t.Errorf("destination %s, %.2f opens/s, peak of %v; want 203.0.113.7:443, about 3.85, 1h", d.Destination, d.Rate, d.Peak)
	}
	if in.Nodes != 2 || in.Budget.Model != "azure-lb-2018" || math.Abs(d.Next-0.25) > 0.01 || math.Abs(d.Lifetimes.Mean()-6) > 0.1 {
		t.Errorf("%d nodes, model %s, next %.3f, lifetime %.2f; want 2, azure-lb-2018, 0.25, 6", in.Nodes, in.Budget.Model, d.Next, d.Lifetimes.Mean())
	}
	if days := in.Doubling.Hours() / 24; math.Abs(days-8) > 0.5 || math.Abs(in.CPU-0.2) > 0.02 {
		t.Errorf("doubles in %.1f days, CPU %.2f; want 8 and 0.2", days, in.CPU)
	}
	if !d.Cut { // the last day holds 3 × 2^(7/8) × 246 = 1353 ports, beyond the ceiling
		t.Error("demand is not said to be cut off at the ceiling")
	}
	made, err := plan.Make(in)
	if err != nil || made.Multiple < 1 {
		t.Errorf("%v, error %v", made, err)
	}
	for _, tt := range []struct {
		name  string
		fleet Fleet
		want  string
	}{
		{"no such budget", Fleet{Budget: "none", Range: 24 * time.Hour, Now: now}, "no budget has budget=\"none\" within 24h0m0s; there are\n  budget web, pool \"web\", gateway \"\""},
		{"a range without samples", Fleet{Range: 24 * time.Hour, Now: now.Add(-30 * 24 * time.Hour)}, "no snat_budget_info and no snat_budget_ports within 24h0m0s: no agent was scraped"},
		{"no range", Fleet{Now: now}, "range 0s"},
	} {
		if _, err := FromPrometheus(t.Context(), p, tt.fleet); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
		}
	}
}

// Half of the metrics is missing: what a plan cannot do without is an error, the rest a note.
func TestFromPrometheusThatLacksMetrics(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	tests := []struct {
		lacks string
		err   string
		note  string
	}{
		{lacks: "snat_budget_info", err: "no snat_budget_info"},
		{lacks: "snat_budget_ports", err: "no snat_budget_ports"},
		{lacks: "snat_busiest_ports_held", err: "no snat_busiest_ports_held"},
		{lacks: "snat_lifetime_seconds_bucket", err: "no snat_lifetime_seconds_bucket{"},
		{lacks: "snat_flows_closed_total", note: "all flows are taken to end by FIN"},
		{lacks: "snat_ports_held", note: "which one is the busiest is not known"},
		{lacks: "snat_ports_live", note: "snat_ports_live or snat_ports_cooling is missing"},
		{lacks: "snat_vips", note: "snat_vips is missing: one VIP is taken"},
		{lacks: "snat_pool_nodes"},
		{lacks: "snat_hold_seconds", note: "cool-downs are the model's, not measured"},
		{lacks: "snat_lifetime_seconds_sum", note: "snat_lifetime_seconds_sum is missing"},
		{lacks: "node_cpu_seconds_total"},
		{lacks: "snat_ports snat_flows snat_hold", note: "all flows are taken to end by FIN"},
	}
	var some []series
	for i, tt := range tests {
		for _, s := range numbered(i, fleet(1, func(int) float64 { return 2 })) {
			if !slices.ContainsFunc(strings.Fields(tt.lacks), func(lacks string) bool { return strings.HasPrefix(s.name, lacks) }) {
				some = append(some, s)
			}
		}
	}
	p := store(t, 1, now, some)
	for i, tt := range tests {
		t.Run(tt.lacks, func(t *testing.T) {
			in, err := FromPrometheus(t.Context(), p, Fleet{Budget: fmt.Sprint("web-", i), Range: 24 * time.Hour, Now: now})
			switch notes := strings.Join(in.Notes, "\n"); {
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want %q", err, tt.err)
			case tt.err == "" && (err != nil || !strings.Contains(notes, tt.note)):
				t.Errorf("error %v, notes %s; want %q", err, notes, tt.note)
			case tt.err == "": // what is known still leads to the load: 2 opens/s held for 246 s
				p, err := plan.Make(in)
				if err != nil || p.Today.Ports != 1024 || p.Today.Load < 0.85*492 || p.Today.Load > 1.05*492 {
					t.Errorf("%+v, error %v; want 1024 ports and a load of a little under 492", p, err)
				}
			}
		})
	}
}

// Where no hold time is recorded and the model has no cool-down, the cool-down is what the cooling ports say: without one
// all held ports would count as live, of 6 s each, and 69 opens/s in place of 2 as the demand. Where no port cools down,
// it is said whose lifetimes are taken.
func TestFromPrometheusWithoutCoolDowns(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	of := func(n int, opens, live float64, lacks ...string) (out []series) {
		for _, s := range numbered(n, fleet(1, func(int) float64 { return opens })) {
			if slices.ContainsFunc(lacks, func(l string) bool { return strings.HasPrefix(s.name, l) }) {
				continue
			}
			s.labels = strings.Replace(s.labels, "azure-lb-2018", "static", 1)
			if value := s.value; strings.HasSuffix(s.name, "_held") {
				s.value = func(m int) float64 { return math.Round(value(m) * live) }
			}
			out = append(out, s)
		}
		return out
	}
	p := store(t, 1, now, slices.Concat(of(0, 2, 1, "snat_hold"), of(1, 80, 6.0/246, "snat_hold", "snat_ports_cooling")))
	for i, tt := range []struct {
		coolDown    time.Duration
		opens, load float64
		note        string
	}{
		{240 * time.Second, 2, 492, "the cool-down follows from the ports that were live and cooling: 240 s."},
		{0, 80, 480, "No port cools down: lifetimes are the mean of all destinations in the hour around the peak"},
	} {
		in, err := FromPrometheus(t.Context(), p, Fleet{Budget: fmt.Sprint("web-", i), Range: 24 * time.Hour, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		made, err := plan.Make(in)
		if err != nil {
			t.Fatal(err)
		}
		d := &in.Demand
		if d.Rate < 0.8*tt.opens || d.Rate > 1.1*tt.opens || math.Abs(d.Lifetimes.Mean()-6) > 0.2 || made.Today.Load > 1.1*tt.load {
			t.Errorf("%d: %.2f opens/s of %.1f s each, a load of %.0f ports; want about %v, 6 s and %.0f", i,
				d.Rate, d.Lifetimes.Mean(), made.Today.Load, tt.opens, tt.load)
		}
		if got := in.Budget.TCP.CoolDown[collector.FIN]; (got - tt.coolDown).Abs() > time.Second {
			t.Errorf("%d: a cool-down of %v, want %v", i, got, tt.coolDown)
		}
		if notes := strings.Join(in.Notes, "\n"); !strings.Contains(notes, tt.note) {
			t.Errorf("%d: notes %q, want %q", i, notes, tt.note)
		}
	}
}

// Agents that restart in the middle of a peak reset their counters and are silent for a while: the plan is as without.
func TestFromPrometheusOverARestart(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	opens := func(int) float64 { return 3 }
	const at, silent = (2*24+9)*60 + 28, 12 // minutes
	var restarted []series
	for _, s := range fleet(2, opens) {
		value, before := s.value, 0.0
		counter := strings.HasSuffix(s.name, "_total") || strings.Contains(s.name, "_seconds_")
		s.value = func(m int) float64 {
			v := value(m)
			switch {
			case m >= at && m < at+silent:
				if counter {
					before = v
				}
				return math.NaN()
			case m >= at:
				return v - before
			}
			return v
		}
		restarted = append(restarted, s)
	}
	var load [2]float64
	for i, all := range [][]series{fleet(2, opens), restarted} {
		in, err := FromPrometheus(t.Context(), store(t, 4, now, all), Fleet{Range: 4 * 24 * time.Hour, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		p, err := plan.Make(in)
		if err != nil {
			t.Fatal(err)
		}
		load[i] = p.Today.Load
		if life := in.Demand.Lifetimes.Mean(); math.Abs(life-6) > 0.1 || in.Demand.Cut {
			t.Errorf("lifetimes of %.2f s, want 6", life)
		}
	}
	if math.Abs(load[1]/load[0]-1) > 0.03 {
		t.Errorf("a load of %.0f ports with the restart, %.0f without", load[1], load[0])
	}
}

// Numbers that cannot be leave no plan, and say which it was.
func TestFromPrometheusOfImpossibleNumbers(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	tests := []struct {
		name  string
		value float64
		want  string
	}{
		{"snat_budget_ports", 0, "no snat_budget_ports"},
		{"snat_busiest_ports_held", 0, "no port of the budget was held"},
		{"snat_lifetime_seconds_bucket", 0, "no flow has ended within 24h0m0s: snat_lifetime_seconds counted none"},
		{"snat_busiest_ports_held", math.Inf(1), "no number of ports"},
		{"snat_busiest_ports_held", -1, "no number of ports"},
	}
	var all []series
	for i, tt := range tests {
		for _, s := range numbered(i, fleet(1, func(int) float64 { return 2 })) {
			if s.name == tt.name {
				s.value = func(int) float64 { return tt.value }
			}
			all = append(all, s)
		}
	}
	p := store(t, 1, now, all)
	for i, tt := range tests {
		t.Run(fmt.Sprint(tt.name, " ", tt.value), func(t *testing.T) {
			in, err := FromPrometheus(t.Context(), p, Fleet{Budget: fmt.Sprint("web-", i), Range: 24 * time.Hour, Now: now})
			var p *plan.Plan
			if err == nil {
				p, err = plan.Make(in)
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("plan %+v, error %v; want %q", p, err, tt.want)
			}
		})
	}
}

// A Prometheus that answers with an error at any point leaves no plan.
func TestFromPrometheusThatFails(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	good := store(t, 1, now, fleet(1, func(int) float64 { return 2 }))
	for n := range 14 {
		asked := 0
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked > n {
				http.Error(w, `{"status":"error","error":"query processing would load too many samples"}`, http.StatusUnprocessableEntity)
				return
			}
			http.Redirect(w, r, good.URL()+r.URL.Path, http.StatusTemporaryRedirect)
		}))
		p, err := remote.NewPrometheus(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := FromPrometheus(t.Context(), p, Fleet{Range: 24 * time.Hour, Now: now}); err == nil || !strings.Contains(err.Error(), "too many samples") {
			t.Errorf("after %d answers: error %v", n, err)
		}
		s.Close()
	}
}

// What rules recorded of a gateway stands for the series of its nodes, where they recorded all of the range: here it says half as
// much again as the nodes.
func TestFromPrometheusOfRules(t *testing.T) {
	t.Parallel()
	if recordedHeld != records.GatewayHeld {
		t.Fatalf("rules record %s, and %s is asked for", records.GatewayHeld, recordedHeld)
	}
	now := time.Now().Truncate(time.Hour)
	shared := strings.NewReplacer(`model="azure-lb-2018"`, `model="static"`, `scope="node"`, `scope="shared"`, `gateway=""`, `gateway="nat-1"`)
	for _, tt := range []struct {
		name  string
		since int // of the recorded series, in minutes
		want  float64
	}{
		{"all", 0, 3 * 246 * 2 * 1.5},
		{"the last day", 24 * 60, 3 * 246 * 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := fleet(2, func(int) float64 { return 3 })
			held := all[5].value // of 203.0.113.7:443 at one node
			for i := range all {
				all[i].labels = shared.Replace(all[i].labels)
			}
			all = append(all, series{recordedHeld, `budget="web",gateway="nat-1",protocol="tcp",vip="",destination="203.0.113.7:443"`, func(m int) float64 {
				if m < tt.since {
					return math.NaN()
				}
				return 2 * 1.5 * held(m)
			}})
			p := store(t, 2, now, all)
			in, err := FromPrometheus(t.Context(), p, Fleet{Range: 48 * time.Hour, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			made, err := plan.Make(in)
			if err != nil || math.Abs(made.Today.Load/tt.want-1) > 0.15 {
				t.Errorf("a load of %.0f ports, error %v; want about %.0f", made.Today.Load, err, tt.want)
			}
		})
	}
}

// Opens that failed within the last minutes count, too, whenever the plan is asked for.
func TestFromPrometheusOfFailuresNow(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	all := append(fleet(1, func(int) float64 { return 5 }), series{ // 1230 ports at the peak
		"snat_open_failures_total", `instance="10.0.0.1:9959",budget="web",protocol="tcp",cause="ports"`,
		func(m int) float64 { return 100 * float64(max(0, m-(24*60-14))) },
	})
	in, err := FromPrometheus(t.Context(), store(t, 1, now, all), Fleet{Range: 23 * time.Hour, Now: now.Add(-3 * time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(in.Notes, "\n"); !in.Demand.Cut || strings.Contains(notes, "How many opens failed is not known") {
		t.Errorf("cut off %t, notes %q; want the failures of the last minutes known", in.Demand.Cut, notes)
	}
}

// A Prometheus that has budgets and not what names them is not one that scrapes no agent.
func TestFromPrometheusWithoutBudgetInfo(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Hour)
	half := slices.DeleteFunc(fleet(1, func(int) float64 { return 2 }), func(s series) bool { return s.name == "snat_budget_info" })
	_, err := FromPrometheus(t.Context(), store(t, 1, now, half), Fleet{Range: 24 * time.Hour, Now: now})
	const want = "has snat_budget_ports but no snat_budget_info{} within 24h0m0s"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want %q", err, want)
	}
}
