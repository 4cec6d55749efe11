package web

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// What helps depends on the model: the same VIP more doubles one budget and adds nothing to another.
func TestAdvice(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		params   budget.Params
		held     int
		want     []string
		unwanted []string
		measures []metrics.Measure
	}{
		{
			name: "the incident's table", params: budget.Params{Model: "azure-lb-2018", Nodes: 60, VIPCount: 1}, held: 500,
			want:     []string{"Another VIP: 1024 ports in place of 512.", "A pool of at most 50 nodes (now 60): 1024 ports in place of 512."},
			measures: []metrics.Measure{{Name: "another VIP", Ports: 512}, {Name: "a pool of at most 50 nodes", Ports: 512}},
		},
		{
			name: "today's table", params: budget.Params{Model: "azure-lb", Nodes: 40, VIPCount: 1}, held: 1000,
			want: []string{"Another VIP adds nothing here: 1024 ports with 2 VIPs too."}, unwanted: []string{"A pool of at most"},
		},
		{
			name: "a VIP by hash", params: budget.Params{Model: "linux", VIPCount: 2, SpacePerVIP: true, PortRange: collector.PortRange{First: 1024, Last: 2047}}, held: 1000,
			want: []string{"A rule form that retries on another VIP does."}, unwanted: []string{"in place of"},
		},
		{
			name: "ephemeral ports", params: budget.Params{Model: "local", PortRange: collector.PortRange{First: 32768, Last: 33791}}, held: 1000,
			want: []string{"net.ipv4.ip_local_port_range"}, unwanted: []string{"VIP"},
		},
		{name: "nothing runs out", params: budget.Params{Model: "azure-lb-2018", Nodes: 60, VIPCount: 1}, held: 50},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.params.Name = "b"
			b := resolved(t, tt.params)
			s := &detector.BudgetSnapshot{Budget: b, Protocols: []detector.AccountSnapshot{{
				Protocol: collector.TCP, Terms: b.TCP,
				Spaces: []detector.SpaceSnapshot{{
					Destination: "203.0.113.7:443", Held: tt.held, Live: tt.held / 10, Cooling: tt.held - tt.held/10,
					OpensPerSecond: 5, MeanHold: 4 * time.Minute,
				}},
			}}}
			if diff := cmp.Diff(tt.measures, Measures(s)); diff != "" {
				t.Errorf("measures (-want +got):\n%s", diff)
			}
			got := strings.Join(advice(s), "\n")
			for _, w := range tt.want {
				if !strings.Contains(got, w) {
					t.Errorf("no %q in:\n%s", w, got)
				}
			}
			for _, u := range tt.unwanted {
				if strings.Contains(got, u) {
					t.Errorf("%q in:\n%s", u, got)
				}
			}
			if (got == "") != (tt.want == nil) {
				t.Errorf("advice:\n%s", got)
			}
		})
	}
}

func resolved(t *testing.T, p budget.Params) *budget.Budget {
	t.Helper()
	b, err := budget.Resolve(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAdviceCountsReuse(t *testing.T) {
	t.Parallel()
	s := &detector.SpaceSnapshot{
		Destination: "203.0.113.7:443", Held: 1000, Live: 100, Cooling: 900, OpensPerSecond: 4, MeanHold: 250 * time.Second,
		Forecast: &detector.Forecast{TimeToExhaustion: math.Inf(1)},
	}
	terms := &budget.Terms{Ports: 1024, Effective: 1024, CoolDown: [collector.NumReasons]time.Duration{collector.FIN: 4 * time.Minute}}
	got := strings.Join(adviceSpace(s, terms), "\n")
	for _, want := range []string{
		"900 of 1000 ports held are closed and cooling down", "At 4.0 opens/s a mean hold under 4 min stays below",
		"4 min is cool-down", "A second address or port of 203.0.113.7:443",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	const unmet = "Opens that found no port are not counted in that"
	if strings.Contains(got, unmet) {
		t.Errorf("with ports left: %q in:\n%s", unmet, got)
	}
	s.Held = terms.Effective
	if got := strings.Join(adviceSpace(s, terms), "\n"); !strings.Contains(got, unmet) {
		t.Errorf("at the ceiling: no %q in:\n%s", unmet, got)
	}
}
