package measured

import (
	"errors"
	"fmt"
	"math"

	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/internal/flowlog"
	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// linesMost is how many port spaces are printed one by one.
const linesMost = 5

// FromLogs counts flow logs under today's budget; a directory stands for what snatwatch record wrote there. Logs are
// read one after the other: give them in order of time.
// lines say what the fullest port spaces held, and what was left out.
func FromLogs(paths []string, today budget.Params) (in plan.Input, lines []string, err error) {
	b, err := plan.Today(today)
	if err != nil {
		return in, nil, err
	}
	files, err := flowlog.Files(paths)
	if err != nil {
		return in, nil, err
	}
	c := flowlog.NewCounter(b)
	instants := false
	for _, path := range files {
		r, err := c.ReadFile(path)
		if err != nil {
			return in, nil, err
		}
		instants = instants || r.Format.Instants
		lines = append(lines, fmt.Sprintf("%s: %s, %d rows, %d of them hold ports%s", path, r.Format.Name,
			r.Rows, r.Used, leftOut(r)))
	}
	c.Close()
	spaces := c.Spaces(linesMost)
	if len(spaces) == 0 {
		return in, lines, errors.New("no flow of a protocol that the budget counts")
	}
	for _, s := range spaces {
		lines = append(lines, c.Line(s))
	}
	in.Budget, in.Nodes = today, today.Nodes
	if in.Demand, in.Notes, err = logDemand(c, b, spaces, instants); err != nil {
		return in, lines, err
	}
	return in, lines, nil
}

// leftOut says what of a log was not used.
func leftOut(r *flowlog.Result) string {
	text := ""
	if s := r.Left(); s != "" {
		text += "; left out: " + s
	}
	if r.Bad > 0 {
		text += fmt.Sprintf("; %d could not be read (%s)", r.Bad, r.Faults[0])
	}
	return text
}

// logDemand is the demand of the fullest port space, from its peaks.
func logDemand(c *flowlog.Counter, b *budget.Budget, spaces []*flowlog.Space, instants bool) (d plan.Demand,
	notes []string, err error,
) {
	if c.Moment() {
		return d, nil, errors.New("the log is a list of one moment: it has neither arrivals nor lifetimes to plan from")
	}
	d = plan.Demand{Destination: spaces[0].Name(), Ends: c.Ends(), Peakedness: 1, Next: math.NaN()}
	if len(spaces) > 1 {
		d.Next = float64(spaces[1].Most) / float64(max(1, spaces[0].Most))
	}
	bounds, counts, sum := c.Lifetimes()
	if d.Lifetimes, d.LifetimesWithin, err = plan.HistogramLaw(bounds, counts, sum); err != nil {
		return d, nil, fmt.Errorf("lifetimes: %w", err)
	}
	hold := d.Lifetimes.Mean() + plan.MeanCoolDown(&d, &b.TCP)
	if hold <= 0 || spaces[0].Most == 0 {
		return d, nil, errors.New("flows end at once and ports have no cool-down: nothing is held")
	}
	points := c.Points()
	last := points[len(points)-1].At.Add(step)
	a := &asker{
		fleet:  Fleet{Range: max(last.Sub(points[0].At), step), Now: last},
		shared: b.Scope == budget.ScopeShared, nodes: make([]string, max(1, b.Nodes)),
	}
	peaks := make([]remote.Point, len(points))
	for i, p := range points {
		peaks[i] = remote.Point{At: p.At, Value: float64(p.Most)}
	}
	a.fit(&d, peaks, hold, b)
	if instants {
		a.note("The log tells when flows began and not when they ended: lifetimes are taken as 0, and only " +
			"cool-downs hold ports.")
	}
	if n := c.Late(); n > 0 {
		a.note("%d flows came more than 25 minutes late in the log: peaks may be too low. Sort the logs by time.", n)
	}
	return d, a.notes, a.err
}
