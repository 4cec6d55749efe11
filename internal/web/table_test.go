package web

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// The page shows how full the conntrack table is, and when it will be.
func TestPageShowsConntrackTable(t *testing.T) {
	t.Parallel()
	tmpl, err := parsePage()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kernel metrics.Kernel
		want   string
	}{
		{metrics.Kernel{EntriesMax: 100, SecondsToFull: 380, Forecast: true}, "<b>90</b> of 100 entries, full in 6 min at this pace<"},
		{metrics.Kernel{EntriesMax: 100, Forecast: true}, "<b>90</b> of 100 entries, full<"},
		{metrics.Kernel{EntriesMax: 100, SecondsToFull: math.Inf(1), Forecast: true}, "<b>90</b> of 100 entries<"},
		{metrics.Kernel{EntriesMax: 100}, "<b>90</b> of 100 entries<"},
		{metrics.Kernel{}, ""},
	} {
		tt.kernel.Counters = collector.Counters{Entries: 90}
		var b bytes.Buffer
		data := pageData{Tables: pageTables(&metrics.View{Kernel: []metrics.Kernel{tt.kernel}})}
		if err := tmpl.Execute(&b, data); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "conntrack table"); got != (tt.want != "") || !strings.Contains(b.String(), tt.want) {
			t.Errorf("%+v: table shown %v, want %q", tt.kernel, got, tt.want)
		}
	}
}

// Of several conntrack tables each is named by its network namespace.
func TestPageNamesConntrackTables(t *testing.T) {
	t.Parallel()
	tables := pageTables(&metrics.View{Kernel: []metrics.Kernel{
		{Counters: collector.Counters{Netns: 4026531840}, EntriesMax: 100},
		{Counters: collector.Counters{Netns: 4026532999}, EntriesMax: 100},
	}})
	if tables[0].Netns != " of network namespace 4026531840" || tables[1].Netns != " of network namespace 4026532999" {
		t.Errorf("the tables are %+v", tables)
	}
}

// Page and API show what EC2's own connection tracking leaves to an interface, and when nothing will be left.
func TestAllowancesAreShown(t *testing.T) {
	t.Parallel()
	tmpl, err := parsePage()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		allowance metrics.Allowance
		page, api string
	}{
		{
			metrics.Allowance{Available: 9000, Known: true, SecondsToExhaustion: 380, Forecast: true},
			"<b>9000</b> more connections of ens5, used up in 6 min at this pace<",
			`{"interface":"ens5","available":9000,"exceeded":0,"time_to_exhaustion_seconds":380}`,
		},
		{
			metrics.Allowance{Known: true, Forecast: true, Exceeded: 3},
			"<b>0</b> more connections of ens5, used up<",
			`{"interface":"ens5","available":0,"exceeded":3,"time_to_exhaustion_seconds":0}`,
		},
		{
			metrics.Allowance{Available: 9000, Known: true, SecondsToExhaustion: math.Inf(1), Forecast: true},
			"<b>9000</b> more connections of ens5<",
			`{"interface":"ens5","available":9000,"exceeded":0,"time_to_exhaustion_seconds":null}`,
		},
		{metrics.Allowance{Exceeded: 3}, "", `{"interface":"ens5","available":null,"exceeded":3,"time_to_exhaustion_seconds":null}`},
	} {
		tt.allowance.Interface = "ens5"
		v := &metrics.View{Allowances: []metrics.Allowance{tt.allowance}}
		var b bytes.Buffer
		if err := tmpl.Execute(&b, pageData{Allowances: pageAllowances(v)}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(b.String(), "connection tracking"); got != (tt.page != "") || !strings.Contains(b.String(), tt.page) {
			t.Errorf("%+v: shown %v, want %q", tt.allowance, got, tt.page)
		}
		if got, err := json.Marshal(newAPIAllowances(v.Allowances)); err != nil || string(got) != "["+tt.api+"]" {
			t.Errorf("%+v: %s, %v, want %s", tt.allowance, got, err, tt.api)
		}
	}
}
