package dashboards_test

import (
	"encoding/json"
	"fmt"
	"html"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// SNATWATCH_DRAW names a folder: each board is drawn there, for fleets of 1, 30 and (with SNATWATCH_FLEET=1000) 1,000
// nodes, as Grafana would from what Prometheus answers. Chromium makes a picture of such a page:
//
//	chromium --headless --no-sandbox --window-size=1920,2400 --screenshot=overview.png 30-snatwatch-overview.html
func TestDrawBoards(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("SNATWATCH_DRAW")
	if dir == "" {
		t.Skip("SNATWATCH_DRAW names no folder")
	}
	for _, f := range fleets() {
		a := serve(t, program(t), f)
		for _, name := range slices.Sorted(maps.Keys(load(t))) {
			b := load(t)[name]
			a.open(t, b, b.single(f))
			var out strings.Builder
			fmt.Fprintf(&out, `<!doctype html><meta charset="utf-8"><title>%s</title><style>%s</style><h1>%s <i>%d nodes</i></h1><div id="b">`, b.Title, style, b.Title, f.nodes)
			for _, p := range b.Panels {
				drawPanel(t, &out, a, p, b.single(f))
			}
			out.WriteString("</div>")
			path := filepath.Join(dir, fmt.Sprintf("%d-%s.html", f.nodes, b.UID))
			if err := os.WriteFile(path, []byte(out.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

const (
	unitX, unitY = 78, 38 // pixels of Grafana's grid on a screen of 1,920
	style        = `body{background:#111217;color:#ccccdc;font:13px Inter,Arial,sans-serif;margin:12px}h1{font-size:18px}i{color:#888}
#b{position:relative}.p{position:absolute;background:#181b1f;border:1px solid #25272c;overflow:hidden;box-sizing:border-box}
.t{font-weight:500;padding:5px 8px;font-size:14px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}.row{background:none;border:0;font-size:16px}
.s{display:flex;height:calc(100% - 32px)}.s div{flex:1;display:flex;flex-direction:column;justify-content:center;align-items:center;margin:2px;color:#fff;overflow:hidden}
.s b{font-size:22px;font-weight:500;white-space:nowrap}table{border-collapse:collapse;font-size:13px;table-layout:fixed}
td,th{text-align:left;padding:0 6px;height:27px;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;border-bottom:1px solid #25272c}th{color:#6e9fff}
.l{overflow:hidden}.l td{height:20px;border:0;font-size:12px}.n{color:#888;text-align:center;padding:60px}a{color:#6e9fff}`
)

var palette = []string{"#73BF69", "#F2CC0C", "#5794F2", "#FF9830", "#F2495C", "#B877D9", "#8AB8FF", "#C4162A", "#37872D", "#FADE2A"}

var colors = map[string]string{"green": "#56A64B", "orange": "#FF9830", "red": "#E02F44", "transparent": "transparent", "text": "#44464f"}

func drawPanel(t *testing.T, out *strings.Builder, a *asked, p panel, one string) {
	g := p.GridPos
	fmt.Fprintf(out, `<div class="p %s" style="left:%dpx;top:%dpx;width:%dpx;height:%dpx"><div class="t">%s</div>`,
		p.Type, g.X*unitX, g.Y*unitY, g.W*unitX-8, g.H*unitY-8, html.EscapeString(p.Title))
	defer out.WriteString("</div>")
	var answers [][]sample
	some := false
	for i := range p.Targets {
		series, _, _ := a.ask(t, p, i, one)
		answers = append(answers, series)
		some = some || len(series) > 0
	}
	switch {
	case p.Type == "row":
	case !some && p.Type != "stat":
		fmt.Fprintf(out, `<div class="n">%s</div>`, html.EscapeString(p.FieldConfig.Defaults.NoValue))
	case p.Type == "stat":
		drawNumbers(out, p, answers)
	case p.Type == "table":
		drawTable(out, p, answers)
	case p.Type == "timeseries":
		drawLines(out, a, p, answers)
	default:
		drawHeat(out, a, p, answers[0])
	}
}

// field is how one series or column is shown: the panel's defaults and what overrides them.
func (p panel) field(name string) fieldConfig {
	f := p.FieldConfig.Defaults
	for _, o := range p.FieldConfig.Overrides {
		match := o.Matcher.Options == name
		if o.Matcher.ID == "byRegexp" {
			match = regexp.MustCompile(strings.Trim(o.Matcher.Options, "/")).MatchString(name)
		}
		if !match {
			continue
		}
		for _, property := range o.Properties {
			into := map[string]any{
				"unit": &f.Unit, "decimals": &f.Decimals, "mappings": &f.Mappings, "thresholds": &f.Thresholds, "min": &f.Min, "max": &f.Max,
				"custom.width": &f.width, "custom.cellOptions": &f.cell, "custom.lineStyle": &f.line, "custom.fillOpacity": &f.Custom.FillOpacity,
				"custom.lineWidth": &f.Custom.LineWidth, "custom.fillBelowTo": &f.below, "links": &f.links,
			}[property.ID]
			switch property.ID { // the panel's own is not written over
			case "decimals":
				f.Decimals = nil
			case "min":
				f.Min = nil
			case "max":
				f.Max = nil
			case "mappings":
				f.Mappings = nil
			case "thresholds":
				f.Thresholds = thresholds{}
			}
			if into != nil {
				_ = json.Unmarshal(property.Value, into)
			}
		}
	}
	return f
}

// shown is the text and the color of a value.
func (f fieldConfig) shown(v float64, known bool) (text, color string) {
	color = "transparent"
	for _, s := range f.Thresholds.Steps {
		if s.Value == nil || known && v >= *s.Value {
			color = s.Color
		}
	}
	type result struct{ Text, Color *string }
	apply := func(r result) (string, string) {
		text := f.text(v, known)
		if r.Text != nil {
			text = *r.Text
		}
		if r.Color != nil {
			color = *r.Color
		}
		return text, color
	}
	for _, m := range f.Mappings {
		switch m.Type {
		case "value":
			var o map[string]result
			_ = json.Unmarshal(m.Options, &o)
			if r, ok := o[strconv.FormatFloat(v, 'g', -1, 64)]; ok && known {
				return apply(r)
			}
		case "range":
			var o struct {
				From, To *float64
				Result   result
			}
			_ = json.Unmarshal(m.Options, &o)
			if known && (o.From == nil || v >= *o.From) && (o.To == nil || v <= *o.To) {
				return apply(o.Result)
			}
		case "special":
			var o struct {
				Match  string
				Result result
			}
			_ = json.Unmarshal(m.Options, &o)
			if !known && o.Match != "empty" {
				return apply(o.Result)
			}
		}
	}
	return f.text(v, known), color
}

// fixed rounds as a browser does: 6.25 is 6.3, not 6.2.
func fixed(v float64, digits int) string {
	of := math.Pow10(digits)
	return strconv.FormatFloat(math.Round(v*of)/of, 'f', digits, 64)
}

// text writes a value in its unit, as Grafana's formats do.
func (f fieldConfig) text(v float64, known bool) string {
	if !known {
		return f.NoValue
	}
	// Three digits, of a whole number all and no more.
	auto := func() string {
		digits := 0
		if v != math.Trunc(v) {
			digits = max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
		}
		if f.Decimals != nil {
			digits = *f.Decimals
		}
		return fixed(v, digits)
	}
	switch {
	case f.Unit == "percentunit":
		v *= 100
		return auto() + "%"
	case f.Unit == "dtdhms":
		s := int(v)
		if s >= 86_400 {
			return fmt.Sprintf("%d d %02d:%02d:%02d", s/86_400, s/3600%24, s/60%60, s%60)
		}
		return fmt.Sprintf("%02d:%02d:%02d", s/3600, s/60%60, s%60)
	case f.Unit == "s" && v < 1:
		v *= 1000
		return auto() + " ms"
	case f.Unit == "s" && v >= 60:
		v /= 60
		return auto() + " mins"
	case f.Unit == "s":
		return auto() + " s"
	case strings.HasPrefix(f.Unit, "suffix:"):
		return auto() + " " + strings.TrimPrefix(f.Unit, "suffix:")
	case f.Unit == "cps", f.Unit == "pps", f.Unit == "ops":
		return auto() + map[string]string{"cps": " c/s", "pps": " p/s", "ops": " ops/s"}[f.Unit]
	case f.Unit == "locale":
		digits := 3
		if f.Decimals != nil {
			digits = *f.Decimals
		}
		whole, rest, _ := strings.Cut(fixed(v, digits), ".")
		rest = strings.TrimRight(rest, "0")
		for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
			whole = whole[:i] + "," + whole[i:]
		}
		if rest != "" {
			whole += "." + rest
		}
		return whole
	}
	return auto()
}

// legend is the name of a series.
func (x target) legend(labels map[string]string) string {
	return strings.TrimSpace(regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllStringFunc(x.LegendFormat, func(m string) string { return labels[m[2:len(m)-2]] }))
}

func drawNumbers(out *strings.Builder, p panel, answers [][]sample) {
	out.WriteString(`<div class="s">`)
	defer out.WriteString("</div>")
	n := 0
	for i, series := range answers {
		for _, s := range series {
			n++
			v, known := s.last()
			text, color := p.field(p.Targets[i].legend(s.Metric)).shown(v, known)
			fmt.Fprintf(out, `<div style="background:%s"><span>%s</span><b>%s</b></div>`, colors[color], html.EscapeString(p.Targets[i].legend(s.Metric)), html.EscapeString(text))
		}
	}
	if n == 0 {
		fmt.Fprintf(out, `<div><b>%s</b></div>`, html.EscapeString(p.FieldConfig.Defaults.NoValue))
	}
}
