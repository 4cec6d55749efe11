package backtest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Number is a figure; one that is not finite is null in JSON.
type Number float64

// MarshalJSON writes null where there is no figure.
func (n Number) MarshalJSON() ([]byte, error) {
	x := float64(n)
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, x, 'g', 6, 64), nil
}

// table prints aligned columns: the first to the left, the others to the right.
type table struct {
	title string
	rows  [][]string
}

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w *strings.Builder) {
	var widths []int
	for _, r := range t.rows {
		for i, c := range r {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	fmt.Fprintf(w, "\n%s\n\n", t.title)
	for n, r := range t.rows {
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString("  " + c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		w.WriteString(strings.TrimRight(b.String(), " ") + "\n")
		if n == 0 {
			total := 0
			for _, width := range widths {
				total += width + 2
			}
			w.WriteString("  " + strings.Repeat("-", total-2) + "\n")
		}
	}
}

// figure prints x with so many decimals, "-" where there is none.
func figure(x float64, decimals int) string {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return "-"
	}
	return fmt.Sprintf("%.*f", decimals, x)
}

// figures prints one per horizon, joined by slashes.
func figures(xs [horizons]Number, decimals int) string {
	var s []string
	for _, x := range xs {
		s = append(s, figure(float64(x), decimals))
	}
	return strings.Join(s, " / ")
}

// exact prints x with as many decimals as it has.
func exact(x float64) string { return strconv.FormatFloat(x, 'g', -1, 64) }
