package web

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// chart draws one quantity over the last hour, by the minute. Its lines break where nothing is known.
type chart struct {
	Name string
	// Now and Most say the newest value and the highest.
	Now, Most string
	Lines     []string // points of lines
	Ceiling   string   // y of the effective ceiling, empty where it is off the chart
	Bad       bool     // the newest or any value is a failure
}

// The chart's drawing area.
const (
	chartWidth, chartHeight = 236, 100
	chartStep               = chartWidth / (pastMinutes - 1)
)

// charts draw the hour of one protocol: nil where fewer than two minutes are known.
func charts(p *Past, ceiling int) []chart {
	if p == nil {
		return nil
	}
	known := 0
	for _, n := range p.Held {
		if n >= 0 {
			known++
		}
	}
	if known < 2 {
		return nil
	}
	held := make([]float64, len(p.Held))
	opens := make([]float64, len(p.Held))
	failed := make([]float64, len(p.Held))
	for i, n := range p.Held {
		held[i], opens[i], failed[i] = float64(n), p.Opens[i]/60, p.Failed[i]
		if n < 0 {
			held[i], opens[i], failed[i] = math.NaN(), math.NaN(), math.NaN()
		}
	}
	last := len(opens) - 1
	if opens[last] < opens[last-1] || math.IsNaN(opens[last]) { // the minute is not over yet
		opens[last] = opens[last-1]
	}
	out := []chart{
		newChart("held in the fullest port space", held, float64(ceiling), whole),
		newChart("opens/s", opens, 0, decimal),
		newChart("found no port, each minute", failed, 0, whole),
	}
	out[2].Bad = out[2].Most != "0"
	return out
}

func whole(f float64) string {
	if math.IsNaN(f) {
		return "–"
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}

// newChart scales values to the area; a ceiling of 0 is none. NaN is not known.
func newChart(name string, values []float64, ceiling float64, text func(float64) string) chart {
	most, now := 0.0, math.NaN()
	for _, v := range values {
		if !math.IsNaN(v) {
			most, now = max(most, v), v
		}
	}
	top := max(most, 1e-9)
	c := chart{Name: name, Now: text(now), Most: text(most)}
	if ceiling > 0 && most >= ceiling/4 {
		top = max(top, ceiling)
	}
	top *= 1.1
	y := func(v float64) string {
		return strconv.Itoa(chartHeight - 2 - int(math.Round(v/top*(chartHeight-4))))
	}
	if ceiling > 0 && ceiling <= top {
		c.Ceiling = y(ceiling)
	}
	var line []string
	flush := func() {
		if len(line) == 1 { // a minute alone is a dot: a line of no length draws nothing
			line = append(line, line[0])
		}
		if len(line) > 0 {
			c.Lines = append(c.Lines, strings.Join(line, " "))
		}
		line = nil
	}
	for i, v := range values {
		if math.IsNaN(v) {
			flush()
			continue
		}
		// Of values alike only the first and the last are drawn.
		if i > 0 && i < len(values)-1 && len(line) > 0 && v == values[i-1] && v == values[i+1] {
			continue
		}
		line = append(line, fmt.Sprintf("%d,%s", i*chartStep, y(v)))
	}
	flush()
	return c
}
