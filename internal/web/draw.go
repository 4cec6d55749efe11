package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
)

// bar compares held ports with the budget, in thousandths of the bar's length. Ceiling is 0 if the effective ceiling is
// the budget itself.
type bar struct {
	Live, Cooling, Ceiling int
}

func newBar(live, cooling int, t *budget.Terms) bar {
	full := max(t.Ports, live+cooling, 1)
	l := live * 1000 / full
	out := bar{Live: l, Cooling: (live+cooling)*1000/full - l}
	if t.Effective < full {
		out.Ceiling = t.Effective * 1000 / full
	}
	return out
}

// band draws what one port space held within the last hour, and what it is forecast to hold: the mean and two standard
// deviations about it, from now to the longest horizon.
type band struct {
	Destination, VIP string
	Past             []string // points of lines
	Now              int      // x of now
	Area, Mean       string   // points of a polygon and of a line
	Ceiling          float64
	CeilingPorts     int
	Marks            []bandMark
}

type bandMark struct {
	X             int
	Label, Anchor string
}

// The band's drawing area.
const (
	bandWidth, bandHeight = 300, 80
	bandTop               = 8
	bandPast              = 100 // of the width, where the past is known
)

func newBand(s *detector.SpaceSnapshot, t *budget.Terms, past *Past) *band {
	f := s.Forecast
	mean, low, high := []float64{float64(s.Held)}, []float64{float64(s.Held)}, []float64{float64(s.Held)}
	top := float64(t.Effective)
	for i := range f.Mean {
		sd := math.Sqrt(max(f.Variance[i], 0))
		if math.IsNaN(f.Mean[i]+sd) || math.IsInf(f.Mean[i]+sd, 0) {
			return nil
		}
		mean = append(mean, f.Mean[i])
		low = append(low, max(0, f.Mean[i]-2*sd))
		high = append(high, f.Mean[i]+2*sd)
		top = max(top, f.Mean[i])
	}
	from := 0 // x of now
	if past != nil {
		from = bandPast
		top = max(top, float64(past.most()))
	}
	top *= 1.15
	x := func(i int) int { return from + i*(bandWidth-from)/(len(mean)-1) }
	y := func(v float64) float64 {
		return bandTop + math.Round(10*(bandHeight-bandTop)*(1-min(v/top, 1)))/10
	}
	var area, line []string
	for i := range mean {
		area = append(area, fmt.Sprintf("%d,%g", x(i), y(high[i])))
		line = append(line, fmt.Sprintf("%d,%g", x(i), y(mean[i])))
	}
	for i := len(low) - 1; i >= 0; i-- {
		area = append(area, fmt.Sprintf("%d,%g", x(i), y(low[i])))
	}
	out := &band{
		Destination: s.Destination, VIP: s.VIP,
		Area: strings.Join(area, " "), Mean: strings.Join(line, " "),
		Ceiling: y(float64(t.Effective)), CeilingPorts: t.Effective,
		Marks: []bandMark{{0, "now", "start"}}, Now: from,
	}
	if past != nil {
		out.Marks = []bandMark{{0, "1h ago", "start"}, {from, "now", "middle"}}
		out.Past = pastLines(past, y)
	}
	for i, h := range metrics.HorizonValues() {
		anchor := "middle"
		if i == len(f.Mean)-1 {
			anchor = "end"
		}
		out.Marks = append(out.Marks, bandMark{x(i + 1), h, anchor})
	}
	return out
}

// pastLines are the held ports of the last hour, left of now.
func pastLines(p *Past, y func(float64) float64) (lines []string) {
	var line []string
	for i := range len(p.Held) + 1 {
		if i == len(p.Held) || p.Held[i] < 0 {
			if len(line) > 1 {
				lines = append(lines, strings.Join(line, " "))
			}
			line = nil
			continue
		}
		line = append(line, fmt.Sprintf("%.3g,%g", float64(i)*bandPast/float64(len(p.Held)-1), y(float64(p.Held[i]))))
	}
	return lines
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// percent writes a share. It rounds to 0 or 100 only what is 0 or 100.
func percent(f float64) string {
	p := f * 100
	switch {
	case math.IsNaN(p):
		return "–"
	case p > 0 && p < 1:
		return "< 1 %"
	case p > 99 && p < 100:
		return "> 99 %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

func decimal(f float64) string {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return "–"
	case f > 0 && f < 0.05:
		return "< 0.1"
	case f >= 10 || f == 0:
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'f', 1, 64)
}

// span writes a number of seconds as precisely as a reader needs.
func span(s float64) string {
	switch {
	case s < 0.0995:
		return strconv.FormatFloat(s*1000, 'f', 0, 64) + " ms"
	case s < 9.95:
		return strconv.FormatFloat(s, 'f', 1, 64) + " s"
	case s < 120:
		return strconv.FormatFloat(s, 'f', 0, 64) + " s"
	case s < 2*3600:
		return strconv.FormatFloat(s/60, 'f', 0, 64) + " min"
	case s < 48*3600:
		return strconv.FormatFloat(s/3600, 'f', 1, 64) + " h"
	}
	return strconv.FormatFloat(s/86400, 'f', 0, 64) + " d"
}

func timeToExhaustion(s float64) string {
	switch {
	case math.IsNaN(s):
		return "–"
	case s <= 0:
		return "now"
	case math.IsInf(s, 1):
		h := detector.Horizons()
		return "> " + metrics.HorizonValue(h[len(h)-1])
	}
	return span(s)
}
