package backtest

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/backtest/record"
	"github.com/snatwatch/snatwatch/internal/golden"
)

// The logs that are kept as test data can be read whole.
func TestKeptRecords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		file                                  string
		flows, destinations, sources, unended int
		// lasts is from the first open to the last.
		lasts time.Duration
	}{
		{"apt29_day1.csv.gz", 613, 21, 2, 36, 2301861 * time.Millisecond},
		{"apt29_day2.csv.gz", 1172, 20, 6, 3, 1939229 * time.Millisecond},
		{"azure_llm.csv.gz", 28185, 2, 1, 0, 3513247 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			r := record.Reader{Now: now}
			records, err := r.ReadFiles([]string{filepath.Join("testdata", tt.file)})
			if err != nil {
				t.Fatal(err)
			}
			rec := records[0]
			last := rec.Flows[len(rec.Flows)-1].Start.Sub(rec.Flows[0].Start).Round(time.Millisecond)
			got := []any{len(rec.Flows), len(rec.Destinations), len(rec.Sources), rec.Unended, last, rec.Bad, rec.Other}
			want := []any{tt.flows, tt.destinations, tt.sources, tt.unended, tt.lasts, 0, 0}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("flows, destinations, sources, unended, lasts, bad, other (-want +got)\n%s", diff)
			}
		})
	}
}

// What the tables say of the peers is compared with a file. The forecast's
// own figures change with every improvement and are left out.
func TestSmallRunGolden(t *testing.T) {
	t.Parallel()
	r := record.Reader{Now: now}
	records, err := r.ReadFiles([]string{"testdata/azure_llm.csv.gz"})
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Terms: []Terms{{CoolDown: 15 * time.Second}}}
	res, err := RunRecords(context.Background(), opt, records)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := res.Summarize().WriteText(&text); err != nil {
		t.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "Average precision of") {
			break
		}
		if !strings.Contains(line, NameForecast) {
			kept = append(kept, strings.Join(strings.Fields(line), " "))
		}
	}
	golden.Compare(t, "testdata/azure_llm_15s.golden", strings.Join(kept, "\n"))
	for _, c := range res.Cells {
		if c.Apart != 0 {
			t.Errorf("%s: ledger and replay are %d ports apart", c.Group, c.Apart)
		}
	}
}

// Under a budget in which a port serves one address, or one flow, destinations share a port space.
func TestMerged(t *testing.T) {
	t.Parallel()
	r := record.Record{
		Destinations: []string{"192.0.2.1:53", "192.0.2.1:443", "192.0.2.1:443", "[2001:db8::1]:443", "2001:db8::2", "192.0.2.1"},
		Protocols:    []collector.Protocol{collector.UDP, collector.UDP, collector.TCP, collector.TCP, collector.TCP, collector.TCP},
	}
	for d := range r.Destinations {
		r.Flows = append(r.Flows, record.Flow{Start: at(float64(d)), End: at(9), Destination: int32(d), Protocol: r.Protocols[d]})
	}
	tests := []struct {
		name   string
		unique budget.Uniqueness
		names  []string
		by     []int32
	}{
		{"endpoint", budget.PerEndpoint, r.Destinations, []int32{0, 1, 2, 3, 4, 5}},
		{"address", budget.PerAddress, []string{"192.0.2.1:*", "192.0.2.1:*", "[2001:db8::1]:*", "[2001:db8::2]:*"}, []int32{0, 0, 1, 2, 3, 1}},
		{"nothing", budget.PerNothing, []string{"*", "*"}, []int32{0, 0, 1, 1, 1, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := r.Merged(func(collector.Protocol) budget.Uniqueness { return tt.unique })
			var by []int32
			for _, f := range m.Flows {
				by = append(by, f.Destination)
			}
			if diff := cmp.Diff([]any{tt.names, tt.by}, []any{m.Destinations, by}); diff != "" {
				t.Errorf("names, numbers (-want +got)\n%s", diff)
			}
		})
	}
}

func TestTerms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name             string
		terms            Terms
		ports, effective int
		fin, rst         time.Duration
	}{
		{"static", Terms{Ports: 100, CoolDown: time.Minute}, 100, 100, time.Minute, time.Minute},
		{"a model", Terms{Model: "azure-lb", Nodes: 60, CoolDown: -1}, 512, 512, 240 * time.Second, 15 * time.Second},
		{"with another cool-down", Terms{Model: "azure-lb", Nodes: 60, CoolDown: time.Second}, 512, 512, time.Second, time.Second},
		{"with other ports", Terms{Model: "azure-lb", Nodes: 60, Ports: 64, CoolDown: -1}, 64, 64, 240 * time.Second, 15 * time.Second},
		{"without nodes", Terms{Model: "azure-lb", Ports: 64, CoolDown: -1}, 64, 64, 240 * time.Second, 15 * time.Second},
		{"of an odd allocation", Terms{Model: "azure-lb-manual", Ports: 100, CoolDown: -1}, 100, 100, 240 * time.Second, 15 * time.Second},
		{"of a given allocation", Terms{Model: "azure-lb-manual", Ports: 1000, CoolDown: -1}, 1000, 1000, 240 * time.Second, 15 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, err := tt.terms.budget()
			if err != nil {
				t.Fatal(err)
			}
			got := []any{b.TCP.Ports, b.TCP.Effective, b.TCP.CoolDown[collector.FIN], b.TCP.CoolDown[collector.RST], b.TCP.Idle, b.Translated, len(b.Exclude)}
			want := []any{tt.ports, tt.effective, tt.fin, tt.rst, time.Duration(0), false, 0}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("ports, effective, fin, rst, idle, translated, excluded (-want +got)\n%s", diff)
			}
		})
	}
}

func TestNumberInJSON(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]string{0.25: "0.25", math.Inf(1): "null", math.NaN(): "null"} {
		got, err := Number(x).MarshalJSON()
		if err != nil || string(got) != want {
			t.Errorf("%v: %s, %v, want %s", x, got, err, want)
		}
	}
}

// Every model can be replayed with ports given, whatever else it takes.
func TestTermsOfEveryModel(t *testing.T) {
	t.Parallel()
	for _, m := range budget.Models() {
		b, err := Terms{Model: m.Name, Ports: 100, CoolDown: -1}.budget()
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		if b.PortRange != (collector.PortRange{}) {
			t.Errorf("%s: counts the ports %v, which a record does not tell", m.Name, b.PortRange)
		}
		if b.TCP.Ports != 100 || b.TCP.Effective < 1 || b.TCP.Effective > 100 {
			t.Errorf("%s: %d ports, %d effective, want 100 and at most that", m.Name, b.TCP.Ports, b.TCP.Effective)
		}
	}
}
