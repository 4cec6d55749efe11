package web

import (
	"bytes"
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
