package top

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// layout is how a table is drawn.
type layout struct {
	width  int
	colour bool
	order  Order
	// marks: each row begins with a place for the mark of the selected one.
	marks    bool
	selected int
	expanded bool
	// nodes: the table has rows of several nodes, so that names begin with theirs.
	nodes bool
}

// Colours of ECMA-48 that every terminal has; the rest of a row stays as it is.
const (
	red     = "\x1b[31m"
	yellow  = "\x1b[33m"
	reverse = "\x1b[7m"
	bold    = "\x1b[1m"
	reset   = "\x1b[0m"
)

// paint colours text where colours are wanted.
func (l *layout) paint(code, text string) string {
	if !l.colour || code == "" {
		return text
	}
	return code + text + reset
}

// Widths of columns but the first, which takes what is left.
const (
	barWidth   = 10
	heldWidth  = 13
	opensWidth = 7
	holdWidth  = 6
	leftWidth  = 9
	failWidth  = 6
	fixedWidth = heldWidth + opensWidth + holdWidth + leftWidth + 4
	// fullWidth has room for all columns but owners; a narrow screen goes without the bar and the failures.
	fullWidth = 76
	// ownerWidth is the width of the owners' column, on terminals that have room for it.
	ownerWidth = 24
)

// Text draws the whole table once, for a screen of that width. Colours are left out unless asked for.
func Text(t *Table, rows []Row, width int, colour bool, order Order) string {
	l := &layout{width: width, colour: colour, order: order}
	var b strings.Builder
	for _, line := range l.head(t, rows) {
		b.WriteString(line + "\n")
	}
	for i := range rows {
		b.WriteString(l.row(&rows[i], i) + "\n")
	}
	return b.String()
}

// head is a line on the whole, notes, and the names of columns.
func (l *layout) head(t *Table, rows []Row) []string {
	l.nodes = slices.ContainsFunc(t.Rows, func(r Row) bool { return r.Node != t.Rows[0].Node })
	exhausted, soon := 0, 0
	for i := range rows {
		switch {
		case rows[i].Left != nil && *rows[i].Left == 0:
			exhausted++
		case rows[i].Left != nil:
			soon++
		}
	}
	state := fmt.Sprintf("%d port spaces", len(rows))
	if len(rows) == 1 {
		state = "1 port space"
	}
	if exhausted > 0 {
		state += fmt.Sprintf(", %d exhausted", exhausted)
	}
	switch {
	case soon == 1:
		state += ", 1 runs out within an hour"
	case soon > 1:
		state += fmt.Sprintf(", %d run out within an hour", soon)
	}
	out := []string{cut(fmt.Sprintf("snatwatch  %s  %s  %s", t.At.UTC().Format("15:04:05Z"), state, t.From), l.width)}
	for _, n := range t.Notes {
		out = append(out, l.paint(yellow, cut("! "+n, l.width)))
	}
	first, owner := l.nameWidth()
	columns := l.mark(-1) + l.cells(first, "DESTINATION", "HELD", "OF BUDGET", "OPENS/S", "HOLD", "LEFT", "FAILED")
	if owner > 0 {
		columns += fmt.Sprintf(" %-*s", owner, "OWNER")
	}
	return append(out, l.paint(bold, cut(columns, l.width)))
}

// nameWidth is what is left for the name, and for owners where there is room.
func (l *layout) nameWidth() (first, owner int) {
	if l.width >= 80+ownerWidth {
		owner = ownerWidth
	}
	first = l.width - fixedWidth
	if l.width >= fullWidth {
		first -= barWidth + failWidth + 2
	}
	if owner > 0 {
		first -= owner + 1
	}
	if l.marks {
		first -= len(l.mark(0))
	}
	return max(12, first), owner
}

// mark is what stands before row number.
func (l *layout) mark(number int) string {
	switch {
	case !l.marks:
		return ""
	case number == l.selected:
		return "> "
	}
	return "  "
}

// cells puts a row's texts into columns; the name has so many places.
func (l *layout) cells(first int, name, bar, held, opens, hold, left, failed string) string {
	s := pad(name, first)
	if l.width >= fullWidth {
		s += fmt.Sprintf(" %-*s", barWidth, bar)
	}
	s += fmt.Sprintf(" %*s %*s %*s %*s", heldWidth, held, opensWidth, opens, holdWidth, hold, leftWidth, left)
	if l.width >= fullWidth {
		s += fmt.Sprintf(" %*s", failWidth, failed)
	}
	return s
}

// row draws row number.
func (l *layout) row(r *Row, number int) string {
	first, owner := l.nameWidth()
	level := ""
	switch {
	case r.Left != nil && *r.Left == 0, r.Effective > 0 && r.Held >= r.Effective:
		level = red
	case r.Left != nil:
		level = yellow
	}
	line := l.cells(first, r.name(l.nodes), bar(r), fmt.Sprintf("%d/%d", r.Held, r.Ports), rate(r.Opens),
		duration(r.Hold, "–"), r.leftText(), count(r.Failures))
	if owner > 0 {
		line += " " + pad(r.ownerText(), owner)
	}
	line = cut(l.mark(number)+line, l.width)
	if l.marks && number == l.selected {
		return l.paint(reverse, line)
	}
	return l.paint(level, line)
}

// name says what space a row is, and of which node where that is asked for.
func (r *Row) name(node bool) string {
	s := r.Destination
	if r.Protocol != "tcp" {
		s += "/" + r.Protocol
	}
	if r.VIP != "" {
		s += " via " + r.VIP
	}
	if node && r.Node != "" {
		s = r.Node + " " + s
	}
	return s
}

// detail are the lines under a row that is expanded.
func (l *layout) detail(r *Row) []string {
	out := []string{fmt.Sprintf("    budget %s, %s: %d held, %d of them cooling; effective ceiling %d",
		r.Budget, r.Protocol, r.Held, r.Cooling, r.Effective)}
	if r.Node != "" { // the name may have been cut
		out = append([]string{fmt.Sprintf("    node %s, to %s", r.Node, r.name(false))}, out...)
	}
	if len(r.Owners) == 0 {
		out = append(out, "    owners are not known")
	}
	for _, o := range r.Owners {
		line := fmt.Sprintf("    %6d  %s", o.Held, o.Kind)
		if o.Name != o.Kind { // of those that nobody knows
			line += " " + o.Name
		}
		if o.Container != "" {
			line += " (container " + o.Container + ")"
		}
		out = append(out, line)
	}
	for i := range out {
		out[i] = cut(out[i], l.width)
	}
	return out
}

func (r *Row) ownerText() string {
	if len(r.Owners) == 0 {
		return "–"
	}
	s := r.Owners[0].Name
	if n := len(r.Owners); n > 1 {
		s += fmt.Sprintf(" +%d", n-1)
	}
	return s
}

// bar fills as the budget does, and is full only when the budget is; ASCII alone, for every terminal.
func bar(r *Row) string {
	n := int(r.fill() * (barWidth - 2))
	n = max(0, min(barWidth-2, n))
	if r.Held > 0 {
		n = max(n, 1)
	}
	return "[" + strings.Repeat("#", n) + strings.Repeat(" ", barWidth-2-n) + "]"
}

func (r *Row) leftText() string {
	switch {
	case r.NoForecast:
		return "–"
	case r.Left == nil:
		return "> 1 h"
	case *r.Left == 0:
		return "exhausted"
	}
	return duration(r.Left, "–")
}

// duration prints seconds in six places.
func duration(s *float64, none string) string {
	switch {
	case s == nil:
		return none
	case *s < 1:
		return fmt.Sprintf("%.0fms", *s*1000)
	case *s < 10:
		return fmt.Sprintf("%.1fs", *s)
	case *s < 600:
		return fmt.Sprintf("%.0fs", *s)
	case *s < 36000:
		return fmt.Sprintf("%.0fm", *s/60)
	}
	return fmt.Sprintf("%.0fh", *s/3600)
}

func rate(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v < 10:
		return fmt.Sprintf("%.1f", *v)
	}
	return fmt.Sprintf("%.0f", *v)
}

func count(v *float64) string {
	switch {
	case v == nil:
		return "–"
	case *v >= 1e6:
		return fmt.Sprintf("%.1fM", *v/1e6)
	case *v >= 1e5:
		return fmt.Sprintf("%.0fk", *v/1e3)
	}
	return fmt.Sprintf("%.0f", *v)
}

// printable replaces what a terminal would obey instead of show: names come from labels of others.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// pad fills text up to n places, or cuts it in the middle: both ends of an address tell it apart.
func pad(text string, n int) string {
	text = printable(text)
	have := utf8.RuneCountInString(text)
	if have <= n {
		return text + strings.Repeat(" ", n-have)
	}
	r := []rune(text)
	keep := n - 1
	return string(r[:keep/2]) + "~" + string(r[have-(keep-keep/2):])
}

// cut leaves no more than n places of text.
func cut(text string, n int) string {
	text = printable(text)
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n])
}
