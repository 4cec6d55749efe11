package backtest

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/snatwatch/snatwatch/internal/backtest/score"
)

//go:embed page.html
var pageTemplate string

// writePage writes one self-contained page: held ports, forecast band and warnings over time, and
// the tables.
func (r *Result) writePage(w io.Writer, s *Summary) error {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return err
	}
	type pageTable struct {
		Title string
		Head  []string
		Rows  [][]string
	}
	data := struct {
		Summary  *Summary
		WarnAt   float64
		Horizons [horizons]string
		Drawings []*drawing
		Tables   []pageTable
	}{Summary: s, WarnAt: drawnWarning, Horizons: horizonNames()}
	for _, c := range r.Cells {
		if c.drawing != nil {
			data.Drawings = append(data.Drawings, c.drawing)
		}
	}
	for _, t := range s.tables() {
		data.Tables = append(data.Tables, pageTable{t.title, t.rows[0], t.rows[1:]})
	}
	return t.Execute(w, data)
}

// drawnWarning is the probability at which the page shows a warning.
const drawnWarning = 0.3

// draw makes the cell's chart from its first run.
func (c *Cell) draw(o outcome, points []Point) {
	if o.chart == nil || len(o.chart.low) == 0 {
		return
	}
	var alarms [horizons][]score.Span
	for n, p := range points {
		for h := range horizons {
			if p.Method == NameForecast && p.Name != NameForecast && p.Thresholds[h] == drawnWarning {
				alarms[h] = o.logs[n*horizons+h].Spans
			}
		}
	}
	c.drawing = o.chart.draw(c.Group+" "+c.Member,
		fmt.Sprintf("ceiling %d ports, cool-down %s s", c.Ports, exact(c.CoolDown.Seconds())), o.truth.Episodes, alarms)
}

// PageSummary is how the page did that is shipped: from the first second on, and over all port spaces.
type PageSummary struct {
	Episodes    int    `json:"episodes"`
	Detected    Number `json:"detected"`
	Lead        Number `json:"lead_seconds"`
	FalsePerDay Number `json:"false_pages_per_day"`
	OnShare     Number `json:"share_of_time_on"` // outside episodes
	// AtStart are the false ones within a quarter of an hour of one of Starts.
	AtStart int `json:"false_pages_at_start"`
	Starts  int `json:"starts"`
}

func summarizePage(p *score.Pages) PageSummary {
	return PageSummary{
		Episodes: p.Episodes, Detected: Number(p.Detected()), Lead: Number(p.Lead()),
		FalsePerDay: Number(p.FalsePerDay()), OnShare: Number(p.OnShare()), AtStart: p.AtStart, Starts: p.Starts,
	}
}
