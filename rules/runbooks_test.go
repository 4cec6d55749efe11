package rules_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
)

func runbook(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("runbooks", name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// What helps depends on the budget model: every model has its row, and no row is of a model that is gone.
func TestEveryModelHasItsMitigation(t *testing.T) {
	t.Parallel()
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9-]+)` \\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(runbook(t, "SnatExhaustionPredicted"), -1) {
		rows[m[1]] = true
	}
	for _, m := range budget.Models() {
		if !rows[m.Name] {
			t.Errorf("no mitigation for model %s", m.Name)
		}
		delete(rows, m.Name)
	}
	for name := range rows {
		t.Errorf("a mitigation for model %s, which does not exist", name)
	}
}

// Who holds the ports is asked for both protocols that alerts are raised for.
func TestRunbookKnowsBothProtocols(t *testing.T) {
	t.Parallel()
	book := runbook(t, "SnatExhaustionPredicted")
	for _, command := range []string{"ss -tanp dst ", "ss -uanp dst ", "conntrack -L -p tcp -d ", "conntrack -L -p udp -d "} {
		if !strings.Contains(book, "\n   "+command+"ADDRESS") {
			t.Errorf("no line begins %q", command)
		}
	}
}

// When the page is raised and when it clears is written once: the runbook and the page of the forecast say that.
func TestDocumentsKnowWhenThePageIsRaised(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../detector/README.md")
	if err != nil {
		t.Fatal(err)
	}
	book := runbook(t, "SnatExhaustionPredicted")
	minutes := func(d time.Duration) string { return fmt.Sprintf("%.0f minutes", d.Minutes()) }
	for _, d := range []struct{ text, want string }{
		{book, fmt.Sprintf("(%v at %s unless changed)", detector.PageRaise, minutes(detector.PageHorizon))},
		{book, fmt.Sprintf("has been below %v for %s.", detector.PageClear, minutes(detector.PageKeep))},
		{book, fmt.Sprintf("only after %s below %v, and shows %v", minutes(detector.PageScarceKeep),
			detector.PageClear, detector.PageClear)},
		{book, fmt.Sprintf("Nearly full is %v %% of", 100*detector.PageFill)},
		{string(readme), fmt.Sprintf("It is raised at an urgency of %v;", detector.PageRaise)},
		{book, fmt.Sprintf("a probability of %.2f", math.Ceil(100*detector.PageRaise/detector.PageTold)/100)},
		{book, fmt.Sprintf("(a slow store) | %.2f", math.Ceil(100*detector.PageRaise/detector.PageSlower)/100)},
		{book, fmt.Sprintf("a mean of %.2f of", math.Ceil(100*detector.PageRaise/detector.PageTold)/100)},
		{book, fmt.Sprintf("%.2f at 5 minutes if 1 minute is safe", math.Ceil(200*detector.PageRaise/detector.PageTold)/100)},
		{book, fmt.Sprintf("all but twice its square root is held, %.0f of 1024", 1024-detector.PageClose*math.Sqrt(1024))},
		{book, fmt.Sprintf("in a sixth of the cool-down or more slowly (%.0f s where that is 240 s)", detector.PageRise*240)},
	} {
		if !strings.Contains(strings.Join(strings.Fields(d.text), " "), d.want) {
			t.Errorf("no %q", d.want)
		}
	}
}

// SnatPortsExhausted asks the kernel's insert_failed under the models for which this machine translates, by name.
func TestModelsThatTranslateHere(t *testing.T) {
	t.Parallel()
	var got []string
	for _, m := range budget.Models() {
		if m.Translated {
			got = append(got, m.Name)
		}
	}
	if diff := cmp.Diff([]string{"linux"}, got); diff != "" {
		t.Errorf("models that translate on this machine, which alerts/pages/ports_exhausted.go names (-want +got):\n%s", diff)
	}
}

// Every series that a runbook names exists, and what it gives to type as a query parses.
func TestRunbooksNameWhatExists(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, m := range metrics.Metrics() {
		known[string(m.Name)] = true
		if m.Type == metrics.Histogram {
			known[string(m.Name)+"_sum"], known[string(m.Name)+"_count"] = true, true
		}
	}
	for _, g := range rules.Default().Groups() {
		for _, r := range g.Records {
			known[r.Name] = true
		}
	}
	code := regexp.MustCompile("(?s)```\n(.+?)```|`([^`\n]+)`")
	name := regexp.MustCompile(`\b(?:[a-z]+:)?snat_[a-z0-9_]+(?::[a-z0-9_]+)?`)
	fill := strings.NewReplacer("$INSTANCE", "i", "$BUDGET", "b", "$DESTINATION", "d", "$GATEWAY", "g")
	queries := 0
	for _, a := range rules.Default().Alerts() {
		for _, m := range code.FindAllStringSubmatch(runbook(t, a.Name), -1) {
			for line := range strings.Lines(m[1] + m[2]) {
				found := name.FindAllString(line, -1)
				for _, n := range found {
					if !known[n] {
						t.Errorf("%s: nothing is called %s", a.Name, n)
					}
				}
				if len(found) == 0 {
					continue
				}
				queries++
				if _, err := parser.NewParser(parser.Options{}).ParseExpr(fill.Replace(strings.TrimSpace(line))); err != nil {
					t.Errorf("%s: %s: %v", a.Name, strings.TrimSpace(line), err)
				}
			}
		}
	}
	if queries < 30 {
		t.Errorf("only %d queries found: are they still written as code?", queries)
	}
}

// A link between runbooks leads somewhere.
func TestRunbookLinks(t *testing.T) {
	t.Parallel()
	for _, a := range rules.Default().Alerts() {
		for _, m := range regexp.MustCompile(`\]\((\w+)\.md(#\w+)?\)`).FindAllStringSubmatch(runbook(t, a.Name), -1) {
			if section := "## " + strings.TrimPrefix(m[2], "#"); !strings.Contains(strings.ToLower(runbook(t, m[1])), section) {
				t.Errorf("%s links to %s%s, which is not there", a.Name, m[1], m[2])
			}
		}
	}
}
