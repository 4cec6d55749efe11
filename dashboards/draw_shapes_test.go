package dashboards_test

import (
	"cmp"
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// merged joins the frames of a table as Grafana's transformation merge does: rows whose fields in common to all
// frames are equal become one, unless another field that both have differs.
func merged(p panel, answers [][]sample) []map[string]string {
	frames := make([][]map[string]string, 0, len(answers))
	fields := make([]map[string]bool, 0, len(answers))
	for i, series := range answers {
		if len(series) == 0 {
			continue
		}
		value := "Value"
		if len(answers) > 1 {
			value += " #" + p.Targets[i].RefID
		}
		names := map[string]bool{}
		for _, s := range series {
			for l := range s.Metric {
				names[l] = true
			}
		}
		var rows []map[string]string
		for _, s := range series {
			row := map[string]string{}
			for l := range names {
				row[l] = s.Metric[l]
			}
			row[value], _ = s.Value[1].(string)
			rows = append(rows, row)
		}
		names[value] = true
		frames, fields = append(frames, rows), append(fields, names)
	}
	var common []string
	if len(fields) > 0 {
		for _, l := range slices.Sorted(maps.Keys(fields[0])) {
			if !slices.ContainsFunc(fields, func(f map[string]bool) bool { return !f[l] }) {
				common = append(common, l)
			}
		}
	}
	var out []map[string]string
	byKey := map[string][]int{}
	for _, rows := range frames {
		for _, row := range rows {
			key := ""
			for _, l := range common {
				key += row[l] + "\x00"
			}
			joined := false
			for _, i := range byKey[key] {
				conflict := false
				for l, v := range row {
					old, both := out[i][l]
					conflict = conflict || both && old != v
				}
				if !conflict {
					maps.Copy(out[i], row)
					joined = true
				}
			}
			if !joined {
				byKey[key] = append(byKey[key], len(out))
				out = append(out, maps.Clone(row))
			}
		}
	}
	return out
}

// cells returns the titles of a table's columns and its rows, sorted as the panel says.
func (p panel) cells(answers [][]sample) (titles []string, rows []map[string]string) {
	organize := p.Transformations[len(p.Transformations)-1].Options
	there := map[string]bool{}
	for _, row := range merged(p, answers) {
		named := map[string]string{}
		for label, v := range row {
			named[cmp.Or(organize.RenameByName[label], label)] = v
			there[label] = true
		}
		rows = append(rows, named)
	}
	index := organize.IndexByName
	for _, label := range slices.SortedFunc(maps.Keys(there), func(a, b string) int { return cmp.Compare(index[a], index[b]) }) {
		if !organize.ExcludeByName[label] {
			titles = append(titles, cmp.Or(organize.RenameByName[label], label))
		}
	}
	for _, by := range slices.Backward(p.Options.SortBy) {
		slices.SortStableFunc(rows, func(a, b map[string]string) int {
			x, errX := strconv.ParseFloat(a[by.DisplayName], 64)
			y, errY := strconv.ParseFloat(b[by.DisplayName], 64)
			if errX != nil || errY != nil {
				return strings.Compare(fmt.Sprint(errX != nil), fmt.Sprint(errY != nil))
			}
			if by.Desc {
				return cmp.Compare(y, x)
			}
			return cmp.Compare(x, y)
		})
	}
	return titles, rows
}

// shownCell is the text and the color of a cell. Labels are texts: no unit changes them.
func (p panel) shownCell(title string, row map[string]string) (text, color string) {
	f, value := p.field(title), row[title]
	if number, err := strconv.ParseFloat(value, 64); err == nil && p.isValue(title) {
		return f.shown(number, !math.IsNaN(number))
	}
	if value == "" {
		return f.shown(0, false)
	}
	return value, ""
}

// isValue: a column holds what its query returns, not a label.
func (p panel) isValue(title string) bool {
	for label, renamed := range p.Transformations[len(p.Transformations)-1].Options.RenameByName {
		if renamed == title {
			return strings.HasPrefix(label, "Value")
		}
	}
	return strings.HasPrefix(title, "Value")
}

func drawTable(out *strings.Builder, p panel, answers [][]sample) {
	titles, rows := p.cells(answers)
	out.WriteString("<table><tr>")
	for _, title := range titles {
		width := "auto"
		if w := p.field(title).width; w > 0 {
			width = fmt.Sprintf("%dpx", w-12)
		}
		fmt.Fprintf(out, `<th><div style="width:%s;overflow:hidden">%s</div></th>`, width, html.EscapeString(title))
	}
	out.WriteString("</tr>")
	for _, row := range rows {
		out.WriteString("<tr>")
		for _, title := range titles {
			f := p.field(title)
			text, color := p.shownCell(title, row)
			text = html.EscapeString(text)
			if len(f.links) > 0 {
				text = "<a>" + text + "</a>"
			}
			background := ""
			switch f.cell.Type {
			case "color-background":
				background = "background:" + colors[color]
			case "gauge":
				part, _ := strconv.ParseFloat(row[title], 64)
				background = fmt.Sprintf("background:linear-gradient(90deg,%s %.0f%%,#25272c 0)", colors[color], 100*min(part, 1))
			}
			limit := ""
			if f.width > 0 {
				limit = fmt.Sprintf("max-width:%dpx;", f.width-12)
			}
			fmt.Fprintf(out, `<td style="%s%s">%s</td>`, limit, background, text)
		}
		out.WriteString("</tr>")
	}
	out.WriteString("</table>")
}

type drawn struct {
	name   string
	field  fieldConfig
	values map[int64]float64
	last   float64 // though the line ended before
	max    float64
}

func (s sample) drawn(name string, f fieldConfig) drawn {
	d := drawn{name: name, field: f, values: map[int64]float64{}, max: math.Inf(-1)}
	for _, v := range s.Values {
		at, _ := v[0].(float64)
		text, _ := v[1].(string)
		d.last, _ = strconv.ParseFloat(text, 64)
		d.values[int64(at)], d.max = d.last, max(d.max, d.last)
	}
	return d
}

// legend is what the legend says of a line.
func (d drawn) legend() (last, top string) {
	last, _ = d.field.shown(d.last, true)
	top, _ = d.field.shown(d.max, true)
	return last, top
}

func drawLines(out *strings.Builder, a *asked, p panel, answers [][]sample) {
	var all []drawn
	low, high, least := 0.0, 0.0, math.Inf(1)
	if p.FieldConfig.Defaults.Max != nil {
		high = *p.FieldConfig.Defaults.Max
	}
	for i, series := range answers {
		for _, s := range series {
			name := p.Targets[i].legend(s.Metric)
			d := s.drawn(name, p.field(name))
			if d.max > 0 {
				least = min(least, slices.Min(slices.Collect(maps.Values(d.values))))
			}
			high = max(high, d.max)
			all = append(all, d)
		}
	}
	if high == 0 {
		high = 1
	}
	legend := min(len(all)*20+24, p.GridPos.H*unitY*2/5)
	w, h := float64(p.GridPos.W*unitX-8), float64(p.GridPos.H*unitY-8-32-legend)
	left := 90.0
	x := func(at int64) float64 {
		return left + (w-left-10)*(1-float64(fleetEnd.Unix()-at)/a.span.Seconds())
	}
	from, to := math.Floor(math.Log10(max(least, 1))), math.Ceil(math.Log10(max(high, 10)))
	y := func(v float64) float64 {
		if p.FieldConfig.Defaults.Custom.ScaleDistribution.Type == "log" {
			return 6 + (h-24)*(1-(math.Log10(max(v, 1))-from)/(to-from))
		}
		return 6 + (h-24)*(1-(v-low)/(high-low))
	}
	fmt.Fprintf(out, `<svg width="%.0f" height="%.0f" style="display:block;font-size:11px">`, w, h)
	for i := range 5 {
		v := low + (high-low)*float64(i)/4
		if p.FieldConfig.Defaults.Custom.ScaleDistribution.Type == "log" {
			v = math.Pow(10, from+(to-from)*float64(i)/4)
		}
		text := p.FieldConfig.Defaults.text(v, true)
		fmt.Fprintf(out, `<line x1="%.0f" x2="%.0f" y1="%.1f" y2="%[3]f" stroke="#25272c"/><text x="%.0f" y="%.1f" fill="#999" text-anchor="end">%s</text>`, left, w-10, y(v), left-6, y(v)+4, html.EscapeString(text))
	}
	for i := range 5 {
		at := fleetEnd.Unix() - int64(a.span.Seconds())*int64(i)/4
		fmt.Fprintf(out, `<text x="%.0f" y="%.0f" fill="#999" text-anchor="middle">-%dm</text>`, min(x(at), w-20), h-4, int(a.span.Minutes())*i/4)
	}
	if p.FieldConfig.Defaults.Custom.ThresholdsStyle.Mode != "" && p.FieldConfig.Defaults.Custom.ThresholdsStyle.Mode != "off" {
		for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
			if s.Value != nil && *s.Value <= high {
				fmt.Fprintf(out, `<line x1="%.0f" x2="%.0f" y1="%.1f" y2="%[3]f" stroke="%s" stroke-dasharray="6,6"/>`, left, w-10, y(*s.Value), colors[s.Color])
			}
		}
	}
	if p.Options.Legend.SortDesc {
		slices.SortStableFunc(all, func(x, y drawn) int { return cmp.Compare(y.last, x.last) })
	}
	step := int64(a.interval(p.MaxDataPoints).Seconds())
	for i, d := range all {
		color := palette[i%len(palette)]
		dash := ""
		if d.field.line.Fill == "dash" {
			dash = `stroke-dasharray="8,8"`
		}
		below := slices.IndexFunc(all, func(o drawn) bool { return d.field.below != "" && o.name == d.field.below })
		var path, area strings.Builder
		before := int64(0)
		for _, at := range slices.Sorted(maps.Keys(d.values)) {
			op := "L"
			if at-before > step {
				op = "M"
			}
			before = at
			fmt.Fprintf(&path, "%s%.1f %.1f", op, x(at), y(d.values[at]))
			if below >= 0 {
				fmt.Fprintf(&area, "M%.1f %.1fL%.1f %.1f", x(at), y(d.values[at]), x(at), y(all[below].values[at]))
			}
		}
		fmt.Fprintf(out, `<path d="%s" fill="none" stroke="%s" stroke-width="%g" %s/>`, path.String(), color, max(d.field.Custom.LineWidth*1.3, 0), dash)
		if below >= 0 {
			fmt.Fprintf(out, `<path d="%s" stroke="%s" stroke-width="8" opacity="0.18"/>`, area.String(), color)
		}
	}
	fmt.Fprintf(out, `</svg><div class="l" style="height:%dpx;overflow:auto"><table width="100%%"><tr><td>Name</td><td width="90">Last</td><td width="90">Max</td></tr>`, legend)
	for i, d := range all {
		last, top := d.legend()
		fmt.Fprintf(out, `<tr><td><span style="color:%s">▬</span> %s</td><td>%s</td><td>%s</td></tr>`, palette[i%len(palette)], html.EscapeString(d.name), last, top)
	}
	out.WriteString("</table></div>")
}

// drawHeat draws the buckets of a histogram.
func drawHeat(out *strings.Builder, a *asked, p panel, series []sample) {
	le := func(s sample) float64 { v, _ := strconv.ParseFloat(s.Metric["le"], 64); return v }
	slices.SortFunc(series, func(x, y sample) int { return cmp.Compare(le(x), le(y)) })
	w, h := float64(p.GridPos.W*unitX-8), float64(p.GridPos.H*unitY-8-50)
	bars := h / float64(len(series))
	step := a.interval(p.MaxDataPoints).Seconds()
	fmt.Fprintf(out, `<svg width="%.0f" height="%.0f" style="font-size:11px">`, w, h)
	lower := map[float64]float64{}
	for i, s := range series {
		fmt.Fprintf(out, `<text x="70" y="%.1f" fill="#999" text-anchor="end">%s s</text>`, h-bars*float64(i)-4, s.Metric["le"])
		for _, v := range s.Values {
			at, _ := v[0].(float64)
			text, _ := v[1].(string)
			f, _ := strconv.ParseFloat(text, 64)
			count := f - lower[at]
			lower[at] = f
			if count > 0.01 {
				x := 80 + (w-90)*(1-(float64(fleetEnd.Unix())-at)/a.span.Seconds())
				fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#FF9830" opacity="%.2f"/>`, x, h-bars*float64(i+1), (w-90)*step/a.span.Seconds()-1, bars-1, min(1, 0.1+math.Sqrt(count)/2))
			}
		}
	}
	out.WriteString("</svg>")
}
