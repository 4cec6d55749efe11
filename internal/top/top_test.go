package top

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/snatwatch/snatwatch/internal/remote"
)

func known(v float64) *float64 { return &v }

// table has an exhausted port space, one that runs out, a calm one, and names that are too long.
func table() *Table {
	t := &Table{At: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), From: "http://127.0.0.1:9959", Notes: []string{"warming up"}}
	t.Rows = []Row{
		{Budget: "web", Protocol: "tcp", Destination: "203.0.113.8:443", Held: 251, Cooling: 63, Ports: 1024, Effective: 1024, Opens: known(8.1), Hold: known(31)},
		{
			Budget: "web", Protocol: "tcp", Destination: "203.0.113.7:443", Held: 1021, Ports: 1024, Effective: 942, Opens: known(31.2), Hold: known(0.05),
			Left: known(0), Failures: known(714), Owners: []remote.Owner{{Name: "fetcher", Kind: "process", Held: 900}, {Name: "web-7f", Kind: "pod", Container: "api", Held: 121}},
		},
		{Budget: "web", Protocol: "udp", Destination: "[2001:db8:1234:5678:9abc:def0:1234:5678]:443", VIP: "198.51.100.1", Node: "node-17.example.internal:9959", Held: 3, Ports: 64512},
		{Budget: "web", Protocol: "tcp", Destination: "203.0.113.9:443", Held: 800, Ports: 1024, Effective: 1024, Left: known(95), Failures: known(2.5e6), Opens: known(1.5e4), Hold: known(4e4)},
	}
	return t
}

func destinations(rows []Row) string {
	var names []string
	for i := range rows {
		names = append(names, rows[i].Destination)
	}
	return strings.Join(names, " ")
}

func TestSortAndFilter(t *testing.T) {
	t.Parallel()
	const seven, eight, nine, six = "203.0.113.7:443", "203.0.113.8:443", "203.0.113.9:443", "[2001:db8:1234:5678:9abc:def0:1234:5678]:443"
	for _, tt := range []struct {
		order  Order
		filter string
		want   []string
	}{
		{order: ByLeft, want: []string{seven, nine, eight, six}},
		{order: ByHeld, want: []string{seven, nine, eight, six}},
		{order: ByOpens, want: []string{nine, seven, eight, six}},
		{order: ByHold, want: []string{nine, eight, seven, six}},
		{order: ByName, want: []string{seven, eight, nine, six}},
		{order: ByLeft, filter: "FETCH", want: []string{seven}},
		{order: ByLeft, filter: "udp", want: []string{six}},
		{order: ByLeft, filter: "node-17", want: []string{six}},
		{order: ByLeft, filter: "nothing"},
	} {
		rows := Filter(slices.Clone(table().Rows), tt.filter)
		Sort(rows, tt.order)
		if got := destinations(rows); got != strings.Join(tt.want, " ") {
			t.Errorf("by %v, filter %q: %s; want %v", tt.order, tt.filter, got, tt.want)
		}
	}
}

// No line is wider than the screen, and nothing is coloured unless asked for.
func TestText(t *testing.T) {
	t.Parallel()
	for _, width := range []int{40, 80, 104, 200} {
		tb := table()
		text := Text(tb, tb.Rows, width, false, ByLeft)
		for line := range strings.Lines(text) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width {
				t.Errorf("width %d: a line of %d: %s", width, n, line)
			}
		}
		if strings.Contains(text, "\x1b") {
			t.Errorf("width %d: colours in %q", width, text)
		}
	}
	tb := table()
	text := Text(tb, tb.Rows, 80, false, ByLeft)
	for _, want := range []string{
		"4 port spaces, 1 exhausted, 1 runs out within an hour", "! warming up",
		"203.0.113.7:443         [####### ]     1021/1024      31   50ms exhausted    714",
		"203.0.113.9:443         [######  ]      800/1024   15000    11h       95s   2.5M",
		"  3/64512", "> 1 h",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if wide := Text(tb, tb.Rows, 120, false, ByLeft); !strings.Contains(wide, "fetcher +1") {
		t.Errorf("no owners in\n%s", wide)
	}
	if coloured := Text(tb, tb.Rows, 80, true, ByLeft); !strings.Contains(coloured, red+"203.0.113.7:443") {
		t.Errorf("exhausted is not red in %q", coloured)
	}
}

// Where all rows are of one node its name takes no place from the destination; a row that is opened tells it.
func TestNamesOfNodes(t *testing.T) {
	t.Parallel()
	tb := &Table{Rows: []Row{{Node: "node-17.example.internal:9959", Destination: "203.0.113.7:443", Protocol: "tcp", Held: 5, Ports: 64}}}
	if text := Text(tb, tb.Rows, 80, false, ByLeft); strings.Contains(text, "node-17") || !strings.Contains(text, "\n203.0.113.7:443 ") {
		t.Errorf("one node:\n%s", text)
	}
	l := &layout{width: 80}
	if lines := l.detail(&tb.Rows[0]); !strings.Contains(lines[0], "node node-17.example.internal:9959, to 203.0.113.7:443") {
		t.Errorf("opened: %q", lines)
	}
	tb.Rows = append(tb.Rows, Row{Node: "node-18.example.internal:9959", Destination: "203.0.113.8:443", Protocol: "tcp", Held: 4, Ports: 64})
	if text := Text(tb, tb.Rows[:1], 80, false, ByLeft); !strings.Contains(text, "\nnode-17") {
		t.Errorf("one of two nodes:\n%s", text)
	}
}

// A row without a forecast has no time left that anybody knows: it does not read as more than an hour. Owners that hold
// nothing any more are left out, and what nobody knows is named once.
func TestWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	terms := []remote.Terms{{Protocol: "tcp", Ports: 1024, Effective: 942}}
	never := &remote.Forecast{}
	s := &remote.Snapshot{Ready: true, Exact: true, Budgets: []remote.Budget{{Name: "web", Terms: terms, Protocols: []remote.Protocol{{
		Protocol: "tcp", Spaces: []remote.Space{
			{Destination: "203.0.113.7:443", Held: 7, Forecast: never, Owners: []remote.Owner{{Name: "unknown", Kind: "unknown", Held: 7}, {Name: "web-7f", Kind: "pod"}}},
			{Destination: "203.0.113.8:443", Held: 6},
		},
	}}}}}
	tb := agentTable("node-1:9959", s)
	text := Text(tb, tb.Rows, 120, false, ByLeft)
	if lines := strings.Split(text, "\n"); !strings.Contains(lines[2], "> 1 h") || !strings.Contains(lines[3], "      –      –") || strings.Contains(text, "+1") {
		t.Errorf("with a forecast and without:\n%s", text)
	}
	if lines := strings.Join((&layout{width: 80}).detail(&tb.Rows[0]), "\n"); strings.Contains(lines, "unknown unknown") || strings.Contains(lines, "web-7f") {
		t.Errorf("owners:\n%s", lines)
	}
}

// press sends keys to the model, as bubbletea does.
func press(m *model, keys ...tea.Key) (quit bool) {
	for _, k := range keys {
		_, cmd := m.Update(tea.KeyPressMsg(k))
		if cmd != nil {
			_, quit = cmd().(tea.QuitMsg)
		}
	}
	return quit
}

func letter(c rune) tea.Key { return tea.Key{Code: c, Text: string(c)} }

func TestKeys(t *testing.T) {
	t.Parallel()
	m := &model{ctx: context.Background(), every: time.Second}
	m.layout = layout{width: 80, marks: true}
	m.source = func(context.Context) (*Table, error) { return table(), nil }
	m.Update(tea.WindowSizeMsg{Width: 80, Height: 10})
	if text := m.draw(); !strings.Contains(text, "waiting for the first answer") {
		t.Errorf("before the first look:\n%s", text)
	}
	m.Update(m.Init()())
	check := func(doing string, want ...string) {
		t.Helper()
		text := m.draw()
		if n := strings.Count(text, "\n") + 1; n != 10 {
			t.Errorf("%s: %d lines on a screen of 10", doing, n)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: no %q in\n%s", doing, w, text)
			}
		}
	}
	check("at first", "sort left", "> 203.0.113.7:443")
	press(m, letter('s'))
	check("sorted", "sort held")
	press(m, tea.Key{Code: tea.KeyEnter})
	check("expanded", "process fetcher", "121  pod web-7f")
	press(m, letter('j'), letter('j'), letter('j'), letter('j'), letter('j'))
	check("at the end", "owners are not known", "> 1 h")
	press(m, letter('/'), letter('9'), letter('x'), tea.Key{Code: tea.KeyBackspace})
	check("typing", "filter: 9_")
	press(m, tea.Key{Code: tea.KeyEnter})
	check("filtered", "filter 9", "203.0.113.9:443")
	press(m, tea.Key{Code: tea.KeyEscape}, letter('p'))
	check("paused", "PAUSED", "203.0.113.7:443")
	m.Update(looked{&Table{}, nil})
	check("paused and looked", "203.0.113.7:443")
	press(m, letter('p'))
	m.Update(looked{nil, errors.New("connection refused")})
	check("without an answer", "! no answer", "connection refused", "203.0.113.7:443")
	if !press(m, letter('q')) {
		t.Error("q does not quit")
	}
}

// A screen of a few lines still shows the row that is selected, whichever it is.
func TestSmallScreen(t *testing.T) {
	t.Parallel()
	rows := make([]Row, 200)
	for i := range rows {
		rows[i] = Row{Destination: fmt.Sprintf("203.0.113.%d:443", i), Protocol: "tcp", Ports: 1024, Held: 1000 - i}
	}
	m := &model{table: &Table{Rows: rows}}
	m.layout = layout{width: 40, order: ByHeld, marks: true}
	for _, height := range []int{1, 2, 3, 5, 24} {
		m.Update(tea.WindowSizeMsg{Width: 40, Height: height})
		for _, selected := range []int{0, 1, 100, 199} {
			for _, m.expanded = range []bool{false, true} {
				m.selected = selected
				m.arrange()
				text := m.draw()
				if n := strings.Count(text, "\n") + 1; n != height {
					t.Errorf("%d lines on a screen of %d", n, height)
				}
				if want := fmt.Sprintf("%d/1024", 1000-selected); height >= 4 && !strings.Contains(text, want) {
					t.Errorf("height %d: row %d is not on the screen:\n%s", height, selected, text)
				}
			}
		}
	}
}

// A filter that hides rows is told on 80 columns too, beside all else that keys have set.
func TestFootTellsTheFilter(t *testing.T) {
	t.Parallel()
	m := &model{layout: layout{width: 80, order: ByLeft}, paused: true, filter: "203.0.113.7:443"}
	if foot := m.foot(); !strings.Contains(foot, "PAUSED, sort left, filter 203.0.113.7:443") || len(foot) > 80 {
		t.Errorf("%q", foot)
	}
}

// The agent tells the ports of a port space where they are fewer than the budget's, as those below 1024 are.
func TestFromAgentLowPorts(t *testing.T) {
	t.Parallel()
	s := &remote.Snapshot{Ready: true, Exact: true, Budgets: []remote.Budget{{
		Name: "nat", Terms: []remote.Terms{{Protocol: "udp", Ports: 64512, Effective: 59351}},
		Protocols: []remote.Protocol{{Protocol: "udp", Spaces: []remote.Space{
			{Destination: "203.0.113.7:123", Held: 600},
			{Destination: "203.0.113.7:123", VIP: "ports 1-511", Ports: 511, Effective: 470, Held: 511},
		}}},
	}}}
	rows := agentTable("http://127.0.0.1:9959", s).Rows
	if r := rows[0]; r.Ports != 64512 || r.Effective != 59351 {
		t.Errorf("%+v, want the ports of the terms", r)
	}
	if r := rows[1]; r.fill() != 1 || r.Ports != 511 || r.Effective != 470 {
		t.Errorf("%+v is filled to %g, want 511 of 511 ports", r, r.fill())
	}
}
