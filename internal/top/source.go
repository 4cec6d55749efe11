package top

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

// Source returns the table of this moment.
type Source func(ctx context.Context) (*Table, error)

// FromAgent reads an agent's port spaces.
func FromAgent(at string) Source {
	return func(ctx context.Context) (*Table, error) {
		s, err := remote.Agent(ctx, at)
		if err != nil {
			return nil, err
		}
		return agentTable(at, s), nil
	}
}

func agentTable(at string, s *remote.Snapshot) *Table {
	t := &Table{At: s.At, From: at, Rows: []Row{}, Notes: []string{}}
	switch {
	case !s.Ready:
		t.Notes = append(t.Notes, "the agent waits for its first complete dump")
	case !s.Exact:
		t.Notes = append(t.Notes, "not exact: more or fewer ports may be held, until a complete dump agrees")
	}
	if s.WarmingUp {
		t.Notes = append(t.Notes, "warming up: ports closed before the start may be held unseen")
	}
	for i := range s.Budgets {
		b := &s.Budgets[i]
		if b.Contradiction != "" {
			t.Notes = append(t.Notes, "budget "+b.Name+" contradicted: "+b.Contradiction)
		}
		for j := range b.Protocols {
			p := &b.Protocols[j]
			terms := b.TermsOf(p.Protocol)
			if terms == nil {
				continue
			}
			for k := range p.Spaces {
				t.Rows = append(t.Rows, spaceRow(b, p, terms, &p.Spaces[k]))
			}
		}
	}
	return t
}

func spaceRow(b *remote.Budget, p *remote.Protocol, terms *remote.Terms, s *remote.Space) Row {
	opens := s.OpensPerSecond
	ports, effective := terms.Of(s)
	r := Row{
		Budget: b.Name, Protocol: p.Protocol, VIP: s.VIP, Destination: s.Destination,
		Held: s.Held, Cooling: s.Cooling, Ports: ports, Effective: effective,
		Opens: &opens, Hold: s.MeanHold, NoForecast: s.Forecast == nil,
		Owners: slices.DeleteFunc(slices.Clone(s.Owners), func(o remote.Owner) bool { return o.Held == 0 }),
	}
	if s.Forecast != nil {
		r.Left = s.Forecast.TimeToExhaustion
	}
	if n, ok := p.Failures[metrics.CausePorts]; ok {
		f := float64(n)
		r.Failures = &f
	}
	return r
}

// fleetRows is how many rows are asked for: the fullest, and the soonest to run out.
const fleetRows = 100

// FromPrometheus reads the port spaces of a fleet: the fullest and the soonest to run out.
func FromPrometheus(p *remote.Prometheus) Source {
	return func(ctx context.Context) (*Table, error) {
		now := time.Now()
		f := &fleet{ctx: ctx, p: p, now: now, rows: map[string]*Row{}}
		return f.table()
	}
}

// fleet collects the rows of one look.
type fleet struct {
	ctx  context.Context
	p    *remote.Prometheus
	now  time.Time
	rows map[string]*Row
	keys []string // of rows, as they came
	// lack are the metrics of which Prometheus has no number for any row.
	lack []string
}

const spaceLabels = "instance, budget, protocol, vip, destination"

func (f *fleet) table() (*Table, error) {
	chosen := fmt.Sprintf("(topk(%[1]d, max by (%[2]s) (%[3]s{destination!=\"other\"}) / on (instance, "+
		"budget, protocol) group_left max by (instance, budget, protocol) (%[4]s)) "+
		"or bottomk(%[1]d, max by (%[2]s) (%[5]s) < +Inf) "+
		// Low ports are fewer than those of the budget, so that their space may be full and not among the fullest here.
		"or topk(%[1]d, max by (%[2]s) (%[3]s{vip=~\"(.+ )?ports [0-9]+-[0-9]+\"})))",
		fleetRows, spaceLabels, metrics.PortsHeld, metrics.BudgetPorts, metrics.TimeToExhaustion)
	first, err := f.p.Query(f.ctx, chosen, f.now)
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return f.none()
	}
	for _, s := range first {
		l := s.Labels
		key := f.key(l)
		f.keys = append(f.keys, key)
		f.rows[key] = &Row{
			Node: l["instance"], Budget: l["budget"], Protocol: l["protocol"], VIP: l["vip"],
			Destination: l["destination"], NoForecast: true,
		}
	}
	for _, q := range []struct {
		metric metrics.Name
		take   func(*Row, float64)
	}{
		{metrics.PortsHeld, func(r *Row, v float64) { r.Held = int(v) }},
		{metrics.PortsCooling, func(r *Row, v float64) { r.Cooling = int(v) }},
		{metrics.TimeToExhaustion, func(r *Row, v float64) {
			r.NoForecast = false
			if !math.IsInf(v, 0) {
				r.Left = &v
			}
		}},
	} {
		expr := fmt.Sprintf("max by (%s) (%s{instance=~%q,destination=~%q})", spaceLabels, q.metric,
			f.pattern(func(r *Row) string { return r.Node }),
			f.pattern(func(r *Row) string { return r.Destination }))
		if err := f.each(expr, q.metric, q.take); err != nil {
			return nil, err
		}
	}
	return f.finish()
}

// none says why there is no row: which metrics are missing, or that no port is held.
func (f *fleet) none() (*Table, error) {
	has, lacks, err := f.p.Having(f.ctx, f.now, staleAfter, string(metrics.BudgetInfo), string(metrics.BudgetPorts),
		string(metrics.PortsHeld))
	if err != nil {
		return nil, err
	}
	switch {
	case len(has) == 0:
		return nil, fmt.Errorf("Prometheus at %s has no %s: no agent is scraped, or none has seen a complete dump yet",
			f.p.URL(), strings.Join(lacks, ", no "))
	case len(lacks) > 0:
		return nil, fmt.Errorf("Prometheus at %s has %s but no %s, which the same agents serve: does a relabel rule "+
			"drop it?", f.p.URL(), strings.Join(has, " and "), strings.Join(lacks, " and no "))
	}
	const spaces = string(metrics.PortsHeld) + "{destination!=\"other\"}"
	held, err := f.p.Query(f.ctx, "count("+spaces+")", f.now)
	if err != nil {
		return nil, err
	}
	if len(held) > 0 {
		return nil, fmt.Errorf("Prometheus at %s: no %s has instance, budget and protocol of a %s, which the same "+
			"agents serve: does a relabel rule change one of them?", f.p.URL(), spaces, metrics.BudgetPorts)
	}
	return &Table{At: f.now, From: f.p.URL(), Rows: []Row{}, Notes: []string{"no agent sees a port held"}}, nil
}

// staleAfter is how old a sample may be that an instant query still finds.
const staleAfter = 5 * time.Minute

// finish adds what is known of budgets alone.
func (f *fleet) finish() (*Table, error) {
	t := &Table{At: f.now, From: f.p.URL(), Notes: []string{}, Rows: []Row{}}
	for _, q := range []struct {
		expr string
		must bool // an agent always has it
		take func(*Row, float64)
	}{
		{string(metrics.BudgetPorts), true, func(r *Row, v float64) { r.Ports = int(v) }},
		{string(metrics.BudgetEffectivePorts), true, func(r *Row, v float64) { r.Effective = int(v) }},
		{
			fmt.Sprintf("%s{cause=%q}", metrics.OpenFailures, metrics.CausePorts), false,
			func(r *Row, v float64) { r.Failures = &v },
		},
	} {
		samples, err := f.p.Query(f.ctx, "max by (instance, budget, protocol) ("+q.expr+")", f.now)
		if err != nil {
			return nil, err
		}
		values := map[string]float64{}
		for _, s := range samples {
			if !math.IsNaN(s.Value) {
				values[s.Labels["instance"]+"\x00"+s.Labels["budget"]+"\x00"+s.Labels["protocol"]] = s.Value
			}
		}
		found := false
		for _, r := range f.rows {
			if v, ok := values[r.Node+"\x00"+r.Budget+"\x00"+r.Protocol]; ok {
				q.take(r, v)
				found = true
			}
		}
		if q.must && !found {
			f.lack = append(f.lack, q.expr)
		}
	}
	if len(f.lack) > 0 {
		t.Notes = append(t.Notes, "no numbers here of "+strings.Join(f.lack, ", ")+": what they tell is not known")
	}
	for _, k := range f.keys {
		if r := f.rows[k]; r != nil {
			r.Ports, r.Effective = metrics.PortsOf(r.VIP, r.Ports, r.Effective)
			t.Rows = append(t.Rows, *r)
			delete(f.rows, k)
		}
	}
	if len(t.Rows) >= fleetRows {
		t.Notes = append(t.Notes, fmt.Sprintf("the %d fullest and the soonest to run out", fleetRows))
	}
	return t, nil
}

func (f *fleet) key(l map[string]string) string {
	return strings.Join([]string{l["instance"], l["budget"], l["protocol"], l["vip"], l["destination"]}, "\x00")
}

// each hands the samples of an expression, of a metric that each row has, to the rows that they are of.
func (f *fleet) each(expr string, metric metrics.Name, take func(*Row, float64)) error {
	samples, err := f.p.Query(f.ctx, expr, f.now)
	if err != nil {
		return err
	}
	found := false
	for _, s := range samples {
		if r := f.rows[f.key(s.Labels)]; r != nil && !math.IsNaN(s.Value) {
			take(r, s.Value)
			found = true
		}
	}
	if !found {
		f.lack = append(f.lack, string(metric))
	}
	return nil
}

// pattern is a regular expression of a name of all rows.
func (f *fleet) pattern(of func(*Row) string) string {
	seen := map[string]bool{}
	var all []string
	for _, k := range f.keys {
		name := of(f.rows[k])
		if !seen[name] {
			seen[name] = true
			all = append(all, quoteRegexp(name))
		}
	}
	return strings.Join(all, "|")
}

// quoteRegexp makes of a name an expression that matches it alone.
func quoteRegexp(s string) string {
	var b strings.Builder
	for _, c := range s {
		if strings.ContainsRune(`\.+*?()|[]{}^$`, c) {
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}
