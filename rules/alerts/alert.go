// Package alerts holds what pages and tickets are made of: the alert itself, the panels that it links to, the text that
// its annotations ask Prometheus for, and two levels to raise and clear it at.
package alerts

import (
	"time"

	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/rules/query"
)

// Alert is one alerting rule.
type Alert struct {
	// Name is CamelCase and starts with Snat; the runbook is runbooks/NAME.md.
	Name string
	// Expr is PromQL; what it returns is what fires.
	Expr string
	// Severity is one of the three words in the options.
	Severity string
	// For and KeepFiringFor are rounded to seconds.
	For, KeepFiringFor time.Duration
	// Summary is static; Description is a template of Prometheus. Detail is added to it where the server
	// itself can be asked for more (Grafana's templates cannot): where, when and why.
	Summary, Description, Detail string
	// Labels are added to severity.
	Labels map[string]string
	// Board and Panel are the board's uid and the panel that shows the alert's numbers.
	Board string
	Panel int
}

// SeenAt labels an alert with where its cause was seen, if not at the port space itself: rules of one name and the same
// labels look like one written twice.
func (a Alert) SeenAt(where string) Alert {
	a.Labels = map[string]string{"evidence": where}
	return a
}

// Bridge holds a page over a gap of 100 s in what is scraped, at an evaluation every 15 s.
const Bridge = detector.PageKeep

// Where the fullest port space holds Fill of its effective ceiling, or all but Near times the square root of it, a page
// stays for ScarceKeep after it was last likely.
const (
	Fill       = detector.PageFill
	Near       = detector.PageNear
	ScarceKeep = detector.PageScarceKeep
)

// TableSoon is how soon a conntrack table is full that is about to be.
const TableSoon = detector.TableSoon

// Hysteresis raises an alert when expr >= raise and clears it when expr < lower:
// a self-join with the alert's own state, on the labels in on. Grafana writes no
// series ALERTS: there keep_firing_for alone holds the alert.
func Hysteresis(s query.Scope, alert, expr, raise, lower, on string) string {
	if s.Inline {
		return expr + " >= " + raise
	}
	return raised(alert, expr+" >= "+raise, query.Indent(expr)+" >= "+lower, on)
}

// HysteresisWhile is Hysteresis that is raised by another number, urgent, and also keeps what fires while kept has an
// answer, whose value is lower: by it Grafana neither raises nor clears.
func HysteresisWhile(s query.Scope, alert, urgent, expr, raise, lower, kept, on string) string {
	if s.Inline {
		return "(" + urgent + ") >= " + raise + "\nor\nclamp_max(" + expr + " >= " + lower + ", " + lower + ")\nor\n" + kept
	}
	return raised(alert, expr+"\nand\n("+urgent+") >= "+raise,
		"  (\n"+query.Indent(query.Indent(expr))+" >= "+lower+"\n    or\n"+query.Indent(query.Indent(kept))+"\n  )", on)
}

func raised(alert, raised, kept, on string) string {
	return raised + "\nor\n(\n" + kept + "\n  and on (" + on + ")\n  ALERTS{alertname=\"" + alert +
		"\", alertstate=\"firing\"}\n)"
}
