package dashboards_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/prom"
)

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// program is the Prometheus that PROMETHEUS names, or prometheus in PATH.
func program(t testing.TB) string {
	t.Helper()
	return kerneltest.Program(t, cmp.Or(os.Getenv("PROMETHEUS"), "prometheus"), "prometheus")
}

// asked is a real Prometheus over a fleet, which boards are opened on as Grafana does: an hour up to fleetEnd.
type asked struct {
	*prom.Server
	all   map[string]string // what All is of each variable of the board that is open
	every time.Duration
	span  time.Duration
}

// serve starts program over a fleet.
func serve(t testing.TB, program string, f *fleet) *asked {
	t.Helper()
	dir := t.TempDir()
	f.blocks(t, kerneltest.Program(t, "promtool", "prometheus"), filepath.Join(dir, "data"))
	s, err := prom.Prometheus(t.Context(), program, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Wait)
	return &asked{Server: s, every: f.every, span: time.Hour}
}

// open opens a board: it asks for the values of its variables as Grafana does. chosen holds pairs of a variable's name
// and a regular expression; all values of every other variable are chosen. one is the node of a board of one node.
func (a *asked) open(t testing.TB, b board, one string, chosen ...string) {
	t.Helper()
	a.all = map[string]string{}
	for i := 0; i < len(chosen); i += 2 {
		a.all[chosen[i]] = chosen[i+1]
	}
	for _, v := range b.Templating.List {
		if _, is := a.all[v.Name]; is {
			continue
		}
		if v.Type != "query" || v.AllValue != "" {
			a.all[v.Name] = v.AllValue
			continue
		}
		q, _ := v.Query.(map[string]any)["query"].(string)
		switch expr, worst := strings.CutPrefix(q, "query_result("); {
		case worst:
			a.all[v.Name] = anyOf(a.worst(t, v.Regex, strings.TrimSuffix(expr, ")"), one))
		default:
			label := strings.TrimSuffix(q[strings.LastIndex(q, ", ")+2:], ")")
			var values []string
			window := fmt.Sprintf("&start=%d&end=%d", fleetEnd.Add(-time.Hour).Unix(), fleetEnd.Unix())
			if err := a.API(t.Context(), "/api/v1/label/"+label+"/values?match[]=snat_budget_info"+window, &values); err != nil {
				t.Fatal(err)
			}
			a.all[v.Name] = anyOf(values)
		}
	}
}

// worst are the names that Grafana reads with a regular expression out of what an expression returns.
func (a *asked) worst(t testing.TB, regex, expr, one string) []string {
	t.Helper()
	series, _, _ := a.ask(t, panel{Title: expr, Targets: []target{{Expr: expr, Instant: true}}}, 0, one)
	regex, every := strings.CutSuffix(regex, "g")
	read, most := regexp.MustCompile(strings.Trim(regex, "/")), 1
	if every {
		most = -1
	}
	var names []string
	for _, s := range series {
		var labels []string
		for name, value := range s.Metric {
			labels = append(labels, fmt.Sprintf(`%s="%s"`, name, value))
		}
		for _, m := range read.FindAllStringSubmatch("{"+strings.Join(labels, ",")+"} 1 1", most) {
			if !slices.Contains(names, m[1]) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

// anyOf is a regular expression of names, as Grafana writes it.
func anyOf(names []string) string {
	var quoted []string
	for _, name := range names {
		quoted = append(quoted, strings.ReplaceAll(regexp.QuoteMeta(name), `\`, `\\`))
	}
	return "(" + strings.Join(quoted, "|") + ")"
}

// sample is one series of an answer.
type sample struct {
	Metric map[string]string
	Values [][2]any // of a range
	Value  [2]any   // of an instant
}

// last is the value at the end, false where there is none.
func (s sample) last() (float64, bool) {
	v := s.Value
	if len(s.Values) > 0 {
		v = s.Values[len(s.Values)-1]
		if at, _ := v[0].(float64); int64(at) < fleetEnd.Unix()-60 {
			return 0, false
		}
	}
	text, _ := v[1].(string)
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil
}

// interval is what Grafana asks for: the range over the points of a panel, rounded to a step of its own, and not
// below 15 s.
func (a *asked) interval(points int) time.Duration {
	if points == 0 {
		points = 900 // the pixels of half a screen
	}
	exact := a.span / time.Duration(points)
	for _, s := range []time.Duration{15 * time.Second, 20 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute} {
		if s >= exact*3/4 {
			return s
		}
	}
	return 15 * time.Minute
}

// fill puts into a query what Grafana does. one is the single node of a board of one.
func (a *asked) fill(expr, one string, step time.Duration) string {
	expr = strings.ReplaceAll(expr, "$__rate_interval", fmt.Sprint(max(step+a.every, 4*a.every)))
	expr = strings.ReplaceAll(expr, "$__range", fmt.Sprintf("%ds", int(a.span.Seconds())))
	return regexp.MustCompile(`"\$([a-z_]+)(\|?)"`).ReplaceAllStringFunc(expr, func(m string) string {
		name, or := strings.Trim(m, `"$|`), ""
		all, known := a.all[name]
		switch {
		case name == "instance" && one != "":
			all = one // of a variable of one value Grafana escapes nothing but quotes
		case name == "cluster" && one != "":
			all = "prod" // an alert's link names it
		case !known:
			all = ".*"
		}
		if strings.HasSuffix(m, `|"`) {
			or = "|"
		}
		return `"` + all + or + `"`
	})
}

// ask asks one target as Grafana does and returns its series, how long the answer is and how long it took.
func (a *asked) ask(t testing.TB, p panel, i int, one string) (out []sample, size int, took time.Duration) {
	t.Helper()
	target := p.Targets[i]
	step := a.interval(p.MaxDataPoints)
	form, path := url.Values{}, "/api/v1/query"
	form.Set("query", a.fill(target.Expr, one, step))
	if target.Instant {
		form.Set("time", fmt.Sprint(fleetEnd.Unix()))
	} else {
		path = "/api/v1/query_range"
		form.Set("start", fmt.Sprint(fleetEnd.Add(-a.span).Unix()))
		form.Set("end", fmt.Sprint(fleetEnd.Unix()))
		form.Set("step", fmt.Sprint(step.Seconds()))
	}
	begin := time.Now()
	resp, err := http.PostForm(a.URL+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	took = time.Since(begin)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %s\n%s", p.Title, resp.Status, err, body, form.Get("query"))
	}
	var answer struct {
		Data struct{ Result []sample }
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(answer.Data.Result, func(x, y sample) int { return strings.Compare(fmt.Sprint(x.Metric), fmt.Sprint(y.Metric)) })
	return answer.Data.Result, len(body), took
}
