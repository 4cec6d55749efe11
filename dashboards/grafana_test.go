package dashboards_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What Grafana's own library makes of every board, over what a real Prometheus answers, is what the pictures show, and
// is fit to be read. SNATWATCH_GRAFANA lists folders in which @grafana/data 10 to 13 is installed: .ci/grafana.
func TestGrafanaShowsBoards(t *testing.T) {
	t.Parallel()
	installed := filepath.SplitList(os.Getenv("SNATWATCH_GRAFANA"))
	if len(installed) == 0 {
		t.Skip("SNATWATCH_GRAFANA lists no folder")
	}
	for _, f := range fleets() {
		a := serve(t, program(t), f)
		for _, name := range slices.Sorted(maps.Keys(looked(t))) {
			b := looked(t)[name]
			a.open(t, b, b.single(f))
			answers := map[int][][]sample{}
			for _, p := range b.Panels {
				for i := range p.Targets {
					series, _, _ := a.ask(t, p, i, b.single(f))
					answers[p.ID] = append(answers[p.ID], series)
				}
			}
			for _, dir := range installed {
				where := fmt.Sprintf("%s, %d nodes, %s", filepath.Base(dir), f.nodes, b.UID)
				for _, shown := range showBoard(t, dir, b, answers) {
					p := b.Panels[slices.IndexFunc(b.Panels, func(p panel) bool { return p.ID == shown.ID })]
					for _, fault := range shown.faults(p, answers[p.ID]) {
						t.Errorf("%s, %s: %s", where, p.Title, fault)
					}
				}
			}
		}
	}
}

// shownPanel is what Grafana's library makes of a panel: numbers of a stat panel, else fields: the columns of a table
// with all their cells, or the lines of a graph with what its legend says of each.
type shownPanel struct {
	ID      int
	Unknown []string
	Numbers []shownValue
	Fields  []struct {
		Title, Unit string
		Cells       []shownValue
	}
}

type shownValue struct {
	Title, Text, Color string
	Links              []string
}

func showBoard(t *testing.T, dir string, b board, answers map[int][][]sample) []shownPanel {
	t.Helper()
	type series struct {
		Labels map[string]string `json:"labels"`
		Values [][2]any          `json:"values"`
	}
	in := map[int][][]series{}
	for id, queries := range answers {
		for _, answer := range queries {
			all := []series{}
			for _, s := range answer {
				values := s.Values
				if len(values) == 0 {
					values = [][2]any{s.Value}
				}
				all = append(all, series{Labels: s.Metric, Values: values})
			}
			in[id] = append(in[id], all)
		}
	}
	body, err := json.Marshal(map[string]any{"board": b.raw, "answers": in})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "node", "testdata/grafana.cjs", dir)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(body), &log
	body, err = cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", dir, err, log.String())
	}
	var out []shownPanel
	if err := json.Unmarshal(body, &out); err != nil {
		t.Fatalf("%s: %v\n%s", dir, err, log.String())
	}
	return out
}

// faults lists what is not fit to be read, and where the pictures show something else.
func (s shownPanel) faults(p panel, answers [][]sample) []string {
	out := slices.Clone(s.Unknown)
	note := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, f := range s.Fields {
		for _, c := range f.Cells {
			if f.Unit == "locale" && partOfOne.MatchString(c.Text) && !strings.HasPrefix(p.Description, "Expected") {
				note("%s counts %s", f.Title, c.Text)
			}
			if strings.Contains(c.Text, "  ") {
				note("two spaces in %q", c.Text)
			}
			for _, l := range c.Links {
				if strings.Contains(l, "__data") {
					note("the link %s names no column", l)
				}
			}
		}
	}
	for _, n := range s.Numbers {
		if strings.Contains(n.Text, "  ") {
			note("two spaces in %q", n.Text)
		}
	}
	switch p.Type {
	case "stat":
		out = append(out, s.numberFaults(p, answers)...)
	case "table":
		out = append(out, s.tableFaults(p, answers)...)
	case "timeseries":
		out = append(out, s.legendFaults(p, answers)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (s shownPanel) numberFaults(p panel, answers [][]sample) []string {
	var drawn, shown []string
	for i, series := range answers {
		for _, x := range series {
			v, known := x.last()
			title := p.Targets[i].legend(x.Metric)
			text, color := p.field(title).shown(v, known)
			drawn = append(drawn, title+": "+text+" "+dark[color])
		}
	}
	if len(drawn) == 0 {
		return nil
	}
	for _, n := range s.Numbers {
		shown = append(shown, n.Title+": "+n.Text+" "+n.Color)
	}
	if !slices.Equal(drawn, shown) {
		return []string{fmt.Sprintf("pictures show %q, Grafana %q", drawn, shown)}
	}
	return nil
}

func (s shownPanel) legendFaults(p panel, answers [][]sample) []string {
	var pictured, shown []string
	for i, series := range answers {
		for _, x := range series {
			name := p.Targets[i].legend(x.Metric)
			last, top := x.drawn(name, p.field(name)).legend()
			pictured = append(pictured, name+": "+last+", "+top)
		}
	}
	for _, f := range s.Fields {
		shown = append(shown, f.Title+": "+f.Cells[0].Text+", "+f.Cells[1].Text)
	}
	if !slices.Equal(pictured, shown) {
		return []string{fmt.Sprintf("pictures have the legend %q, Grafana %q", pictured, shown)}
	}
	return nil
}

// partOfOne is a number with a fraction.
var partOfOne = regexp.MustCompile(`^-?[\d,]+\.\d+$`)

// dark are Grafana's colors by name, in its dark theme.
var dark = map[string]string{"green": "#73BF69", "orange": "#FF9830", "red": "#F2495C", "text": "#ccccdc", "transparent": "#00000000"}

func (s shownPanel) tableFaults(p panel, answers [][]sample) []string {
	titles, rows := p.cells(answers)
	var got []string
	for _, f := range s.Fields {
		got = append(got, f.Title)
	}
	if len(rows) == 0 {
		return nil
	}
	if !slices.Equal(titles, got) {
		return []string{fmt.Sprintf("pictures have columns %q, Grafana %q", titles, got)}
	}
	lines := func(cell func(row, column int) string, n int) []string {
		var out []string
		for row := range n {
			var line []string
			for column := range titles {
				line = append(line, cell(row, column))
			}
			out = append(out, strings.Join(line, " | "))
		}
		slices.Sort(out) // the panel sorts rows, not the library
		return out
	}
	colored := func(column int, color string) string {
		if p.field(titles[column]).cell.Type == "" { // its cells have no color
			return ""
		}
		return " " + color
	}
	drawn := lines(func(row, column int) string {
		text, color := p.shownCell(titles[column], rows[row])
		return text + colored(column, dark[color])
	}, len(rows))
	shown := lines(func(row, column int) string {
		cell := s.Fields[column].Cells[row]
		return cell.Text + colored(column, cell.Color)
	}, len(s.Fields[0].Cells))
	for i := range min(len(drawn), len(shown)) {
		if drawn[i] != shown[i] {
			return []string{fmt.Sprintf("pictures have the row\n%s\nGrafana\n%s", drawn[i], shown[i])}
		}
	}
	if len(drawn) != len(shown) {
		return []string{fmt.Sprintf("pictures have %d rows, Grafana %d", len(drawn), len(shown))}
	}
	return nil
}
