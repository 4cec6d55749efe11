package agent

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// The time until the conntrack table is full follows the pace of its entries; without one it is never.
func TestFilling(t *testing.T) {
	t.Parallel()
	const most = 100_000
	for _, tt := range []struct {
		name    string
		looks   int
		entries func(i int) int
		least   float64
		largest float64
		ok      bool
	}{
		{"one look", 1, func(int) int { return 50_000 }, 0, 0, false},
		{"one look at a full table", 1, func(int) int { return most }, 0, 0, true},
		{"at rest", 24, func(int) int { return 90_000 }, math.Inf(1), math.Inf(1), true},
		{"falling", 24, func(i int) int { return 90_000 - 1000*i }, math.Inf(1), math.Inf(1), true},
		{"100 a second", 24, func(i int) int { return 50_000 + 500*i }, 384, 386, true},
		{"100 a second, not evenly", 24, func(i int) int { return 50_000 + 500*i + 800*(i%2) }, 350, 410, true},
		{"at rest for long, then 1000 a second for a minute", 60, func(i int) int { return 10_000 + 5000*max(0, i-47) }, 25, 60, true},
		{"not within an hour", 24, func(i int) int { return 50_000 + i }, math.Inf(1), math.Inf(1), true},
		{"full", 24, func(int) int { return 100_000 }, 0, 0, true},
	} {
		var f filling
		for i := range tt.looks {
			f.look(collector.Time(1+i*int(5*time.Second)), float64(tt.entries(i)))
		}
		got, ok := f.reaches(most)
		if ok != tt.ok || got < tt.least || got > tt.largest {
			t.Errorf("%s: %v s, %v, want %v to %v, %v", tt.name, got, ok, tt.least, tt.largest, tt.ok)
		}
	}
}

// A notice says how full the table is before it is, with the time that is left, and does not come and go.
func TestTableText(t *testing.T) {
	t.Parallel()
	never := math.Inf(1)
	said := ""
	for _, tt := range []struct {
		entries uint32
		seconds float64
		want    string
	}{
		{30_000, 200, ""},
		{50_000, 550, "50 % of its 100000 entries: at the pace of the last minutes it is full within 10 minutes"},
		{60_000, 250, "within 5 minutes"},
		{60_000, never, ""},
		{82_000, never, ""},
		{86_000, never, "85 % of its 100000 entries; once"},
		{83_000, never, "80 % of"},
		{79_000, never, ""},
		{99_000, 30, "95 % of its 100000 entries: at the pace of the last minutes it is full within 2 minutes"},
		{100_000, 0, "100 % of its 100000 entries: it is full"},
	} {
		said = tableText(&metrics.Kernel{
			Counters: collector.Counters{Netns: 7, Entries: tt.entries}, EntriesMax: 100_000,
			SecondsToFull: tt.seconds, Forecast: true,
		}, said)
		if (tt.want == "") != (said == "") || !strings.Contains(said, tt.want) {
			t.Errorf("%d entries, full in %v s: %q, want %q", tt.entries, tt.seconds, said, tt.want)
		}
	}
	if got := tableText(nil, said); got != "" {
		t.Errorf("nothing is known: %q", got)
	}
}
