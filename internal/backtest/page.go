package backtest

import (
	_ "embed"
	"html/template"
	"io"
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
