package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Report is what a run of the lab measured.
type Report struct {
	Kernel string       `json:"kernel"`
	OK     bool         `json:"ok"`
	Steps  []StepReport `json:"steps"`
}

// StepReport is what one step measured.
type StepReport struct {
	Name string `json:"name"`
	// Title is what was done.
	Title string `json:"title"`
	// Error is why the step broke off, if it did.
	Error string `json:"error,omitempty"`
	Rows  []Row  `json:"rows"`
}

// Row is one number that was read from the kernel.
type Row struct {
	// What was counted, and where: the node's sockets (sock_diag), the router's table (conntrack),
	// or a counter of the kernel by its name.
	What     string  `json:"what"`
	Measured float64 `json:"measured"`
	Unit     string  `json:"unit,omitempty"`
	// Expected bounds the number; nil where the number only tells.
	Expected *Bounds `json:"expected,omitempty"`
	OK       bool    `json:"ok"`
	// Means is what the number means to the person on call.
	Means string `json:"means"`
}

// Bounds is an inclusive range of expected numbers. A nil end is open.
type Bounds struct {
	Min *float64 `json:"min,omitempty"`
	Max *float64 `json:"max,omitempty"`
}

func exactly(v int) *Bounds { return between(float64(v), float64(v)) }
func atLeast(v int) *Bounds { f := float64(v); return &Bounds{Min: &f} }
func atMost(v int) *Bounds  { f := float64(v); return &Bounds{Max: &f} }

func between(low, high float64) *Bounds { return &Bounds{Min: &low, Max: &high} }

// holds reports whether v is in b; everything is in nil.
func (b *Bounds) holds(v float64) bool {
	return b == nil || (b.Min == nil || v >= *b.Min) && (b.Max == nil || v <= *b.Max)
}

// String returns the bounds as the table shows them.
func (b *Bounds) String() string {
	switch {
	case b == nil:
		return ""
	case b.Max == nil:
		return "≥ " + number(*b.Min)
	case b.Min == nil:
		return "≤ " + number(*b.Max)
	case *b.Min == *b.Max:
		return number(*b.Min)
	}
	return number(*b.Min) + "–" + number(*b.Max)
}

// number prints v with no more digits than it has a use for.
func number(v float64) string {
	if v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// add appends a row.
func (s *StepReport) add(what string, measured float64, unit string, want *Bounds, means string) {
	s.Rows = append(s.Rows, Row{
		What: what, Measured: measured, Unit: unit, Expected: want, OK: want.holds(measured), Means: means,
	})
}

// count appends a row for a number of things.
func (s *StepReport) count(what string, measured int, want *Bounds, means string) {
	s.add(what, float64(measured), "", want, means)
}

// fail notes why the step broke off; nil is no reason.
func (s *StepReport) fail(err error) {
	if err != nil {
		s.Error = err.Error()
	}
}

// failures says what was not as expected, a line each.
func (r *Report) failures() []string {
	var list []string
	for _, s := range r.Steps {
		if s.Error != "" {
			list = append(list, s.Name+": "+s.Error)
		}
		for _, row := range s.Rows {
			if !row.OK {
				list = append(list, fmt.Sprintf("%s: %s: expected %v, measured %s",
					s.Name, row.What, row.Expected, row.value()))
			}
		}
	}
	return list
}

func (r *Row) value() string {
	if r.Unit == "" {
		return number(r.Measured)
	}
	return number(r.Measured) + " " + r.Unit
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Widths of the table's columns but the last; a cell that is longer pushes the others of its row.
const (
	measuredWidth = 8
	expectedWidth = 8
	whatWidth     = 53
)

// WriteTable writes the report for people: a title per step, then aligned rows.
func (r *Report) WriteTable(w io.Writer) error {
	if err := r.writeHead(w); err != nil {
		return err
	}
	for i := range r.Steps {
		if err := r.Steps[i].writeTitle(w); err != nil {
			return err
		}
		if err := r.Steps[i].writeRows(w); err != nil {
			return err
		}
	}
	return nil
}

func (r *Report) writeHead(w io.Writer) error {
	_, err := fmt.Fprintf(w, "Linux %s, counted from the kernel\n%s", r.Kernel,
		line("", "measured", "expected", "what was counted", "what it means"))
	return err
}

func (s *StepReport) writeTitle(w io.Writer) error {
	_, err := fmt.Fprintf(w, "\n%s: %s\n", s.Name, s.Title)
	return err
}

func (s *StepReport) writeRows(w io.Writer) error {
	var b strings.Builder
	for i := range s.Rows {
		row := &s.Rows[i]
		mark := "ok"
		switch {
		case !row.OK:
			mark = "FAIL"
		case row.Expected == nil:
			mark = ""
		}
		b.WriteString(line(mark, row.value(), row.Expected.String(), row.What, row.Means))
	}
	if s.Error != "" {
		fmt.Fprintf(&b, "FAIL %s\n", s.Error)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func line(mark, measured, expected, what, means string) string {
	return fmt.Sprintf("%-4s %*s  %-*s  %-*s  %s\n",
		mark, measuredWidth, measured, expectedWidth, expected, whatWidth, what, means)
}
