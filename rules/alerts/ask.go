package alerts

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules/query"
)

// The details of alerts ask Prometheus while they are written: whenever their rule is evaluated, for every alert that
// is active. A page may be raised on every node of a fleet at once, so it asks three or four times and for few series;
// 2 ms each where Prometheus holds 1000 nodes and is busy. What one asks for and does not get is left out.

// Subject is the labels that tell what an alert is about.
type Subject []string

// About returns the subject of a list of labels.
func About(labels string) Subject { return strings.Split(labels, ", ") }

// Of is a metric or recorded series of the subject, for Ask.
func (s Subject) Of(name metrics.Name, more ...string) string {
	matchers := make([]string, len(s))
	for i, l := range s {
		matchers[i] = fmt.Sprintf("%s=%%[%d]q", l, i+1)
	}
	return fmt.Sprintf("%s{%s}", name, strings.Join(append(matchers, more...), ", "))
}

// Ask writes text where expr, made with Of, returns something.
func (s Subject) Ask(expr, text string) string {
	values := make([]string, len(s))
	for i, l := range s {
		values[i] = "$labels." + l
	}
	return fmt.Sprintf("{{ with printf `%s` %s | query }}%s{{ end }}", expr, strings.Join(values, " "), text)
}

// Answer is the first value that the query around it returned, in a format of Prometheus's templates.
func Answer(format string) string { return "{{ . | first | value | " + format + " }}" }

// Roughly is Answer to three digits, and to the whole number where it has more.
func Roughly() string {
	return "{{ with . | first }}{{ if lt .Value 100.0 }}{{ .Value | printf `%.3g` }}{{ else }}{{ .Value | printf `%.0f` " +
		"}}{{ end }}{{ end }}"
}

// AnswerLabel is a label of the first series that the query around it returned.
func AnswerLabel(l metrics.Label) string { return fmt.Sprintf("{{ . | first | label `%s` }}", l) }

// AnswerDestination is AnswerLabel of the destination.
func AnswerDestination() string {
	return "{{ with . | first | label `" + string(metrics.LabelDestination) + "` }}{{ if eq . `" + query.AnyDestination +
		"` }}all destinations{{ else }}{{ . }}{{ end }}{{ end }}"
}

// Holders writes the three owners that hold the most of the ports that the sentence before names, where an agent tells;
// within narrows down which port spaces of the subject, ofThem is what that sentence lets the ports be called.
// The flows of nobody known, and the sum of small owners, are no names to page anyone with.
func (s Subject) Holders(within, ofThem string) string {
	owners := "sort_desc(topk(3, " + s.Of(metrics.OwnerPortsHeld, `owner_kind!~"unknown|other"`) + " > 0" + within + "))"
	return s.Ask(owners, fmt.Sprintf("{{ range $i, $o := . }}{{ if $i }},{{ end }} {{ $o | label `%s` "+
		"}} ({{ with $o | label `%s` }}container {{ . }}{{ else }}{{ $o | label `%s` }}{{ end }})"+
		"{{ if not $i }} holds{{ end }} {{ $o | value | %s }}{{ if not $i }} %s{{ end }}{{ end }}.",
		metrics.LabelOwner, metrics.LabelOwnerInner, metrics.LabelOwnerKind, Whole, ofThem))
}

// To names the alert's destination.
const To = "{{ if ne $labels.destination `" + query.AnyDestination + "` }} to {{ $labels.destination }}{{ end }}"

// Formats for Answer.
const (
	Whole  = "printf `%.0f`"
	Period = "humanizeDuration"
)

// Helps says where the rest stands.
const Helps = " Why, and what would help by how much: http://{{ $labels.instance }}/ and the runbook."
