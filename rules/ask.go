package rules

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// The details of alerts ask Prometheus while they are written: whenever their rule is evaluated, for every alert that
// is active. A page may be raised on every node of a fleet at once, so it asks three times and for few series; 0.3 ms
// each on a busy machine. What one asks for and does not get is left out.

// asking begins a detail: $on are matchers of the labels that tell what the alert is about.
func (o Options) asking(labels string) string {
	var format, values []string
	for l := range strings.SplitSeq(labels, ", ") {
		format = append(format, l+"=%q")
		values = append(values, "$labels."+l)
	}
	return fmt.Sprintf("{{ $on := printf `%s` %s }}", strings.Join(format, ", "), strings.Join(values, " "))
}

// asked is a metric with the matchers $on and more, for ask.
func asked[N ~string](name N, more ...string) string {
	return fmt.Sprintf("%s{%s}", string(name), strings.Join(append([]string{"%[1]s"}, more...), ", "))
}

// ask writes text where the query, made with asked, returns something.
func ask(query, text string) string {
	return "{{ with printf `" + query + "` $on | query }}" + text + "{{ end }}"
}

// inSpace are the matchers of a port space, for askSpace.
const inSpace = "vip=%[2]q, destination=%[3]q"

// askSpace is ask about the port space that the alert names.
func askSpace(query, text string) string {
	return strings.Replace(ask(query, text), " $on |", " $on $labels.vip $labels.destination |", 1)
}

// answer is the first value that the query around it returned, in a format of Prometheus's templates.
func answer(format string) string { return "{{ . | first | value | " + format + " }}" }

// answerLabel is a label of the first series that the query around it returned.
func answerLabel(l metrics.Label) string { return fmt.Sprintf("{{ . | first | label `%s` }}", l) }

// Formats for answer.
const (
	whole   = "printf `%.0f`"
	roughly = "printf `%.3g`"
	period  = "humanizeDuration"
)

// helps says where the rest stands.
const helps = " Why, and what would help by how much: http://{{ $labels.instance }}/ and the runbook."
