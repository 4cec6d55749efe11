package agent

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
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

// Flows that conntrack cannot insert while ports and entries are left took the same port at once: the page says so, and
// what to change.
func TestPortRaceIsSaid(t *testing.T) {
	t.Parallel()
	said := ""
	for i, tt := range []struct {
		rate    float64
		busiest int
		entries uint32
		want    bool
	}{
		{0, 100, 10_000, false},
		{0.09, 100, 10_000, false},
		{0.2, 100, 10_000, true},
		{0.06, 100, 10_000, true}, // it stays
		{0.04, 100, 10_000, false},
		{5, 600, 10_000, false}, // for lack of ports
		{5, 100, 90_000, false}, // for lack of entries
		{5, 100, 10_000, true},
	} {
		s := &detector.Snapshot{Budgets: []detector.BudgetSnapshot{{Protocols: []detector.AccountSnapshot{
			{Terms: budget.Terms{Effective: 1000}, Busiest: tt.busiest},
		}}}}
		said = raceText(s, &metrics.Kernel{
			Counters: collector.Counters{Entries: tt.entries}, EntriesMax: 100_000, InsertFailedRate: tt.rate,
		}, said)
		if strings.Contains(said, "fully-random") != tt.want {
			t.Errorf("%d: %v a second, %d of 1000 ports, %d entries: %q, want it said: %v", i, tt.rate, tt.busiest, tt.entries,
				said, tt.want)
		}
	}
	if got := raceText(&detector.Snapshot{}, nil, said); got != "" {
		t.Errorf("nothing is known: %q", got)
	}
	low := &detector.Snapshot{Budgets: []detector.BudgetSnapshot{{Protocols: []detector.AccountSnapshot{{
		Terms: budget.Terms{Ports: 64512, Effective: 59351}, Busiest: 511,
		Spaces: []detector.SpaceSnapshot{{Class: budget.LowClass, Held: 511}},
	}}}}}
	racing := metrics.Kernel{Counters: collector.Counters{Entries: 10_000}, EntriesMax: 100_000, InsertFailedRate: 5}
	if got := raceText(low, &racing, ""); got != "" {
		t.Errorf("all ports below 512 are held: %q", got)
	}
	unlimited := metrics.Kernel{Counters: collector.Counters{Entries: 10_000}, EntriesMax: collector.Unlimited, InsertFailedRate: 5}
	if raceText(&detector.Snapshot{}, &unlimited, "") == "" {
		t.Error("nothing is said of a table without a limit")
	}
}

// What was lost before the first look does not count, nor does a counter that begins anew.
func TestLosing(t *testing.T) {
	t.Parallel()
	var l losing
	at := collector.Time(0)
	look := func(failed uint64) float64 {
		at = at.Add(kernelEvery)
		return l.look(at, failed)
	}
	for range fillingLooks {
		if rate := look(900); rate != 0 {
			t.Fatalf("%v a second of a counter that stands still", rate)
		}
	}
	for i := range fillingLooks {
		look(900 + 5*uint64(i+1))
	}
	if rate := look(900 + 5*(fillingLooks+1)); math.Abs(rate-1) > 0.01 {
		t.Errorf("%v a second, want 1", rate)
	}
	if rate := look(3); rate != 0 {
		t.Errorf("%v a second of a counter that begins anew", rate)
	}
}
