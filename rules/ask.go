package rules

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// The details of alerts ask Prometheus while they are written: whenever their rule is evaluated, for every alert that
// is active. A page may be raised on every node of a fleet at once, so it asks three or four times and for few series; 2 ms
// each where Prometheus holds 1000 nodes and is busy. What one asks for and does not get is left out.

// subject is the labels that tell what an alert is about.
type subject []string

func about(labels string) subject { return strings.Split(labels, ", ") }

// of is a metric or recorded series of the subject, for ask.
func (s subject) of(name metrics.Name, more ...string) string {
	matchers := make([]string, len(s))
	for i, l := range s {
		matchers[i] = fmt.Sprintf("%s=%%[%d]q", l, i+1)
	}
	return fmt.Sprintf("%s{%s}", name, strings.Join(append(matchers, more...), ", "))
}

// ask writes text where the query, made with of, returns something.
func (s subject) ask(query, text string) string {
	values := make([]string, len(s))
	for i, l := range s {
		values[i] = "$labels." + l
	}
	return fmt.Sprintf("{{ with printf `%s` %s | query }}%s{{ end }}", query, strings.Join(values, " "), text)
}

// answer is the first value that the query around it returned, in a format of Prometheus's templates.
func answer(format string) string { return "{{ . | first | value | " + format + " }}" }

// roughly is answer to three digits, and to the whole number where it has more.
func roughly() string {
	return "{{ with . | first }}{{ if lt .Value 100.0 }}{{ .Value | printf `%.3g` }}{{ else }}{{ .Value | printf `%.0f` }}{{ end }}{{ end }}"
}

// answerLabel is a label of the first series that the query around it returned.
func answerLabel(l metrics.Label) string { return fmt.Sprintf("{{ . | first | label `%s` }}", l) }

// answerDestination is answerLabel of the destination.
func answerDestination() string {
	return "{{ with . | first | label `" + string(metrics.LabelDestination) + "` }}{{ if eq . `" + anyDestination + "` }}all destinations{{ else }}{{ . }}{{ end }}{{ end }}"
}

// Where a port serves one flow whatever its destination, metrics call the destination anyDestination: no one to name.
const (
	anyDestination = "*"
	// named matches the destinations that are one.
	named = `destination!~"other|[*]"`
)

// holders writes the three owners that hold the most ports of the subject, where an agent tells; within narrows down which
// of its port spaces. The flows of nobody known, and the sum of small owners, are no names to page anyone with.
func (s subject) holders(within string) string {
	query := "sort_desc(topk(3, " + s.of(metrics.OwnerPortsHeld, `owner_kind!~"unknown|other"`) + " > 0" + within + "))"
	return s.ask(query, fmt.Sprintf(" They are held by{{ range $i, $o := . }}{{ if $i }},{{ end }} {{ $o | label `%s` }} ({{ with $o | label `%s` }}container {{ . }}{{ else }}{{ $o | label `%s` }}{{ end }}) {{ $o | value | %s }}{{ end }}.",
		metrics.LabelOwner, metrics.LabelOwnerInner, metrics.LabelOwnerKind, whole))
}

// to names the alert's destination.
const to = "{{ if ne $labels.destination `" + anyDestination + "` }} to {{ $labels.destination }}{{ end }}"

// Formats for answer.
const (
	whole  = "printf `%.0f`"
	period = "humanizeDuration"
)

// helps says where the rest stands.
const helps = " Why, and what would help by how much: http://{{ $labels.instance }}/ and the runbook."
