package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/config"
)

// What nobody looks at is left out, not 0; what sockets show stays.
func TestObserved(t *testing.T) {
	t.Parallel()
	translated := &budget.Budget{Name: "masquerade", Translated: true}
	other := &budget.Budget{Name: "cloud"}
	snap := &detector.Snapshot{
		Netns:   []detector.NetnsSnapshot{{Netns: 1, Exact: true}, {Netns: 2, Exact: true}},
		Budgets: []detector.BudgetSnapshot{{Budget: translated}, {Budget: other}},
	}
	for _, tt := range []struct {
		name, remedy string
		unruled      map[string]bool
		budgets      []string
		exact        []bool
	}{
		{"conntrack is read", "", nil, []string{"masquerade", "cloud"}, []bool{true, true}},
		{"conntrack is not read", "do this", nil, []string{"cloud"}, []bool{false, true}},
		{"nothing translates", "", map[string]bool{"masquerade": true}, []string{"cloud"}, []bool{false, true}},
		{"neither", "do this", map[string]bool{"other": true}, []string{"cloud"}, []bool{false, true}},
	} {
		out, notice := observed(snap, 1, []sourceStats{{others: 3}, {}}, tt.remedy, tt.unruled)
		var budgets []string
		for _, b := range out.Budgets {
			budgets = append(budgets, b.Budget.Name)
		}
		exact := []bool{out.Netns[0].Exact, out.Netns[1].Exact}
		others := []uint64{out.Netns[0].OtherProtocols, out.Netns[1].OtherProtocols}
		got, want := []any{budgets, exact, others}, []any{tt.budgets, tt.exact, []uint64{3, 0}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: budgets, exact, others (-want +got)\n%s", tt.name, diff)
		}
		if !strings.HasSuffix(notice, tt.remedy) || (notice == "") != (tt.remedy == "" && tt.unruled == nil) {
			t.Errorf("%s: notice %q", tt.name, notice)
		}
	}
	if !snap.Netns[0].Exact || snap.Netns[0].OtherProtocols != 0 || len(snap.Budgets) != 2 {
		t.Error("the snapshot itself changed")
	}
}

// Flows that another namespace translates show in its conntrack alone, which the agent does not read: their budget is
// left out, whatever else is seen.
func TestObservedElsewhere(t *testing.T) {
	t.Parallel()
	snap := &detector.Snapshot{
		Netns: []detector.NetnsSnapshot{{Netns: 1, Exact: true}},
		Budgets: []detector.BudgetSnapshot{
			{Budget: &budget.Budget{Name: "here", Translated: true, Netns: 1}},
			{Budget: &budget.Budget{Name: "there", Translated: true, Netns: 2}},
			{Budget: &budget.Budget{Name: "pods", Local: true, Netns: 2}},
		},
	}
	for _, tt := range []struct {
		remedy  string
		budgets []string
	}{{"", []string{"here", "pods"}}, {"do this", []string{"pods"}}} {
		out, notice := observed(snap, 1, nil, tt.remedy, nil)
		var budgets []string
		for _, b := range out.Budgets {
			budgets = append(budgets, b.Budget.Name)
		}
		if diff := cmp.Diff(tt.budgets, budgets); diff != "" {
			t.Errorf("budgets (-want +got)\n%s", diff)
		}
		if out.Netns[0].Exact || !strings.Contains(notice, "budget there ") || !strings.Contains(notice, tt.remedy) {
			t.Errorf("exact %t, notice %q", out.Netns[0].Exact, notice)
		}
	}
}

// A remedy is named where conntrack may translate unseen, and only there.
func TestChooseNamesWhatIsUnseen(t *testing.T) {
	t.Parallel()
	all := netns.Capabilities(0).With(netns.NetAdmin)
	busy := collector.Limits{EntriesMax: 262144, Entries: 7}
	for _, tt := range []struct {
		name string
		want config.Source
		e    evidence
		is   bool
	}{
		{"conntrack is read", config.SourceAuto, evidence{limits: busy, caps: all}, false},
		{"rights missing", config.SourceAuto, evidence{limits: busy}, true},
		{"/proc/sys hidden and rights missing", config.SourceAuto, evidence{hidden: true}, true},
		{"broken", config.SourceAuto, evidence{limits: busy, caps: all, rules: 1, broken: "no luck"}, true},
		{"sockets asked for", config.SourceSockets, evidence{limits: busy, caps: all}, true},
		{"not loaded: nothing is translated", config.SourceAuto, evidence{caps: all}, false},
		{"not loaded, sockets asked for", config.SourceSockets, evidence{caps: all}, false},
	} {
		c, err := choose(tt.want, tt.e)
		if err != nil || (c.unseen != "") != tt.is {
			t.Errorf("%s: remedy %q, error %v", tt.name, c.unseen, err)
		}
	}
}

// That there can be no events is news only to who wants them.
func TestEventsText(t *testing.T) {
	t.Parallel()
	off := conntrack.Stats{EventsError: errors.New("off")}
	costly := conntrack.Stats{EventsError: errors.New("off"), BudgetExceeded: true}
	for _, tt := range []struct {
		asked conntrack.Strategy
		stats *conntrack.Stats
		want  string
	}{
		{conntrack.Poll, &off, ""},
		{conntrack.Poll, &costly, ""},
		{conntrack.Auto, &off, ""},
		{conntrack.Auto, &costly, "off"},
		{conntrack.Events, &off, "off"},
		{conntrack.Events, &conntrack.Stats{}, ""},
	} {
		if got := eventsText(tt.asked, tt.stats); got != tt.want {
			t.Errorf("%v, exceeded %t: %q, want %q", tt.asked, tt.stats.BudgetExceeded, got, tt.want)
		}
	}
}

// Connections whose direction nobody knows are named with their figure.
func TestDirectionText(t *testing.T) {
	t.Parallel()
	st := &sockdiag.Stats{Netns: []sockdiag.NetnsStats{{}, {Last: sockdiag.Tally{Unsure: 3}}, {Last: sockdiag.Tally{Unsure: 4}}}}
	if got := directionText(st); !strings.HasPrefix(got, "7 connections") {
		t.Errorf("got %q", got)
	}
	if got := directionText(&sockdiag.Stats{}); got != "" {
		t.Errorf("of none: %q", got)
	}
}

// A range that is used up by all destinations together is named with its figures.
func TestLocalPortsText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		inUse, busiest int
		want           string
	}{
		{100, 2, "budget own: 100 % of its 100 local ports are in use towards all destinations together, though the busiest holds less than 5 %"},
		{93, 12, "90 % of its 100 local ports are in use towards all destinations together, though the busiest holds less than 15 %"},
		{89, 2, ""},
		{100, 60, ""}, // that is what the budget itself says
	} {
		got := localPortsText(&detector.Snapshot{Budgets: []detector.BudgetSnapshot{{
			Budget: &budget.Budget{Name: "own", Local: true},
			Protocols: []detector.AccountSnapshot{{
				Terms: budget.Terms{Ports: 100}, PortsInUse: tt.inUse, Busiest: tt.busiest,
			}},
		}}})
		if !strings.Contains(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%d in use, busiest %d: %q, want %q", tt.inUse, tt.busiest, got, tt.want)
		}
	}
}
