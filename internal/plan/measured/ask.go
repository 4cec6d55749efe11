package measured

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// asker asks one question after the other; the first error stays.
type asker struct {
	ctx    context.Context
	p      *remote.Prometheus
	fleet  Fleet
	match  string // label matchers of the budget chosen
	shared bool
	// recorded are label matchers of what rules recorded of the gateway that all nodes meant share; empty where they share
	// none, or are not all that share it.
	recorded string
	nodes    []string // instances
	// around is the hour around the highest peak, or what the range has of it, and ends at.
	around   time.Duration
	at       time.Time
	doubling time.Duration
	notes    []string
	err      error
}

func (a *asker) note(format string, args ...any) {
	a.notes = append(a.notes, fmt.Sprintf(format, args...))
}

// one returns the value of an expression that gives at most one series; ok is false for none.
func (a *asker) one(at time.Time, format string, args ...any) (v float64, ok bool) {
	s := a.ask(at, format, args...)
	if len(s) == 0 || math.IsNaN(s[0].Value) {
		return 0, false
	}
	return s[0].Value, true
}

func (a *asker) ask(at time.Time, format string, args ...any) []remote.Sample {
	if a.err != nil {
		return nil
	}
	var s []remote.Sample
	s, a.err = a.p.Query(a.ctx, fmt.Sprintf(format, args...), at)
	return s
}

// promRange is a range as PromQL writes it.
func promRange(d time.Duration) string { return fmt.Sprintf("%ds", int(d.Seconds())) }

// recent is how far back is looked first for what does not change: a week of samples is a lot to read for the last.
const recent = time.Hour

// latest asks for what was so last, within the last hour, or else within the range. The last argument of format is
// the range.
func (a *asker) latest(format string, args ...any) []remote.Sample {
	s := a.ask(a.fleet.Now, format, append(slices.Clone(args), promRange(min(recent, a.fleet.Range)))...)
	if len(s) == 0 {
		s = a.ask(a.fleet.Now, format, append(slices.Clone(args), promRange(a.fleet.Range))...)
	}
	return s
}

// number is the highest value that a metric had last; 0 where it is missing.
func (a *asker) number(m metrics.Name, match string) int {
	s := a.latest("max(last_over_time(%s{%s}[%s]))", m, match)
	if len(s) == 0 || math.IsNaN(s[0].Value) {
		return 0
	}
	return int(s[0].Value)
}

// patternMost is how long the list of instances may be in a query.
const patternMost = 100_000

// instancesPattern is a regular expression of instances; any where the list would be too long.
func instancesPattern(instances []string) string {
	quoted := make([]string, len(instances))
	for i, x := range instances {
		quoted[i] = strings.ReplaceAll(strings.ReplaceAll(x, `\`, `\\`), ".", `\.`)
	}
	pattern := strings.Join(quoted, "|")
	if len(pattern) > patternMost {
		return ".+"
	}
	return pattern
}
