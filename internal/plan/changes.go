package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
)

// Change is one thing done differently, and what it buys.
type Change struct {
	Name   string `json:"name"`
	Answer Answer `json:"answer"`
	// Enough says that the target is met by this alone.
	Enough bool `json:"enough"`
	// Why says what is behind the number, or why it does nothing.
	Why      string   `json:"why,omitempty"`
	Commands []string `json:"commands,omitempty"`

	unknown bool // the answer leaves out what was not measured
}

// fill is the load as a share of what may be held.
func (a *Answer) fill() float64 { return a.Load / float64(a.Effective) }

// worth is the least change of the fill, as a ratio, that is something.
const worth = 0.98

// changes sorts what can be done into what helps, the best first, and what does nothing.
func (p *planner) changes(plan *Plan) (helps, nothing []Change) {
	all := slices.Concat(p.vipChange(), p.poolChanges(), p.moves(plan), p.holdChanges(plan), p.destinationChanges())
	for _, c := range all {
		c.Enough = c.Answer.Probability < p.Target && !c.unknown
		if c.Answer.fill() < worth*plan.Today.fill() {
			helps = append(helps, c)
		} else {
			nothing = append(nothing, c)
		}
	}
	slices.SortStableFunc(helps, func(a, b Change) int {
		return cmp.Or(-cmp.Compare(toInt(a.Enough), toInt(b.Enough)), cmp.Compare(a.Answer.fill(), b.Answer.fill()))
	})
	return helps, nothing
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// vipChange is another VIP.
func (p *planner) vipChange() []Change {
	b := p.budget
	c := Change{Name: "another VIP"}
	more, err := b.WithVIPs(b.VIPCount + 1)
	switch {
	case b.Local:
		c.Answer, c.Why = p.answer(b, &p.Demand, p.Nodes), "the ports are the machine's own: no VIP gives them"
		return []Change{c}
	case err != nil:
		c.Answer, c.Why = p.answer(b, &p.Demand, p.Nodes), fmt.Sprintf("not possible: %v", err)
		return []Change{c}
	}
	c.Answer = p.answer(more, &p.Demand, p.Nodes)
	switch {
	case b.SpacePerVIP:
		c.Why = "the route, or a hash of source and destination, picks the VIP: the flows that fill this one do " +
			"not go to the next"
	case more.TCP.Ports > b.TCP.Ports:
		c.Why = fmt.Sprintf("%d ports in place of %d", more.TCP.Ports, b.TCP.Ports)
		c.Commands = commands(more)
	case b.Params.Ports > 0 || family(b.Model) == "gcp":
		c.Why = "the allocation of each node is fixed: a VIP makes room for more nodes, or for a larger allocation"
	case b.Model == "azure-lb":
		c.Why = fmt.Sprintf("the default allocation is capped at 1024 ports a node since 2023: %d with %s too",
			more.TCP.Ports, vips(more.VIPCount))
	default:
		c.Why = "the model gives the same ports for any number of VIPs"
	}
	return []Change{c}
}

// poolChanges are a smaller pool where a table gives each node more ports then, and a larger one, which spreads the
// load. The load of the whole pool stays.
func (p *planner) poolChanges() []Change {
	b := p.budget
	if b.Scope == budget.ScopeShared {
		twice := p.answer(b, p.spread(2*p.Nodes), 2*p.Nodes)
		return []Change{{
			Name: fmt.Sprintf("twice the nodes, %d", 2*p.Nodes), Answer: twice,
			Why: "all nodes share the ports of the gateway: the same flows come from more nodes",
		}}
	}
	var out []Change
	for n := b.Nodes - 1; n > 0; n-- {
		fewer, err := b.WithNodes(n)
		if err != nil {
			break
		}
		if fewer.TCP.Ports > b.TCP.Ports {
			out = append(out, Change{
				Name: "a pool of " + nodes(n), Answer: p.answer(fewer, p.spread(n), n),
				Why: fmt.Sprintf("%d ports a node in place of %d, and each node takes %.2f times the load",
					fewer.TCP.Ports, b.TCP.Ports, float64(p.Nodes)/float64(n)),
			})
			break
		}
	}
	if more, err := b.WithNodes(2 * p.Nodes); err == nil {
		why := "each node takes half of the load and keeps its ports"
		if more.TCP.Ports < b.TCP.Ports {
			why = fmt.Sprintf("each node takes half of the load, and its ports fall from %d to %d",
				b.TCP.Ports, more.TCP.Ports)
		}
		out = append(out, Change{
			Name: fmt.Sprintf("twice the nodes, %d", 2*p.Nodes), Why: why,
			Answer: p.answer(more, p.spread(2*p.Nodes), 2*p.Nodes),
		})
	}
	return out
}

// spread is the demand of one node when the pool's load is spread over n nodes.
func (p *planner) spread(n int) *Demand {
	f := float64(p.Nodes) / float64(n)
	d := p.Demand
	d.Rate, d.Low, d.High = d.Rate*f, d.Low*f, d.High*f
	return &d
}

// moves are the offers of other models of the same cloud, which can be had without moving to another.
func (p *planner) moves(plan *Plan) []Change {
	var out []Change
	for _, o := range plan.Offers {
		home := family(p.budget.Model)
		near := o.Model == "instance-ip" || home != "" && family(o.Model) == home
		if o.Model == p.budget.Model || past(o.Model) || !o.Fits || !near {
			continue
		}
		name := o.Model + ": " + o.Setting
		if o.Model == "instance-ip" {
			name = "an address for each node (instance-ip)"
		}
		out = append(out, Change{
			Name: name, Answer: o.Answer, Commands: o.Commands,
			Why: fmt.Sprintf("%d ports in all", o.Reserved),
		})
	}
	return out
}

// holdChanges are the changes to how long a port is held.
func (p *planner) holdChanges(plan *Plan) []Change {
	b, d := p.budget, &p.Demand
	var out []Change
	cool := d.coolDown(&b.TCP)
	cut := p.cut(plan.LongestHold - cool)
	shorter := *d
	shorter.Lifetimes = d.Lifetimes.cut(cut)
	c := Change{
		Name: fmt.Sprintf("no flow longer than %s", span(cut)), Answer: p.answer(b, &shorter, p.Nodes),
		Why: fmt.Sprintf("mean lifetime %s in place of %s; what is longer must end, not go on in another flow",
			span(shorter.Lifetimes.Mean()), span(d.Lifetimes.Mean())),
	}
	if cool > plan.LongestHold {
		c.Why += fmt.Sprintf("; the cool-down of %s alone holds more than the ports carry", span(cool))
	}
	out = append(out, c)

	pieces := *d
	n := d.Lifetimes.Pieces(cut)
	pieces.Rate, pieces.Low, pieces.High = d.Rate*n, d.Low*n, d.High*n
	pieces.Lifetimes = Law{{d.Lifetimes.Mean() / n, 1}}
	each := ""
	if cool > 0 {
		each = ", and each cools down for " + span(cool)
	}
	out = append(out, Change{
		Name: fmt.Sprintf("the same work in pieces of %s", span(cut)), Answer: p.answer(b, &pieces, p.Nodes),
		Why: fmt.Sprintf("%.1f times the flows for the same seconds of use%s: splitting files helps only if pieces are "+
			"fetched faster or fewer at a time", n, each),
	})

	calls := p.calls(plan.Today)
	kept := *d
	kept.Rate, kept.Low, kept.High = d.Rate/calls, d.Low/calls, d.High/calls
	kept.Lifetimes = slices.Clone(d.Lifetimes)
	for i := range kept.Lifetimes {
		kept.Lifetimes[i].Seconds *= calls
	}
	c = Change{
		Name: fmt.Sprintf("keep-alive, %.0f calls on a connection", calls), Answer: p.answer(b, &kept, p.Nodes),
		Why: fmt.Sprintf("the cool-down of %s is paid once for %.0f calls", span(cool), calls),
	}
	if cool == 0 {
		c.Why = "ports have no cool-down here: a call holds its port as long on a kept connection"
	}
	out = append(out, c)

	if fin, rst := b.TCP.CoolDown[collector.FIN], b.TCP.CoolDown[collector.RST]; rst < fin && cool > rst.Seconds() {
		reset := *d
		reset.Ends = map[string]float64{"rst": 1}
		out = append(out, Change{
			Name: "clients that close by reset (SO_LINGER of 0)", Answer: p.answer(b, &reset, p.Nodes),
			Why: fmt.Sprintf("a port cools down for %s after an RST, %s after a FIN; for calls whose answer "+
				"was read in full", span(rst.Seconds()), span(fin.Seconds())),
		})
	}
	return out
}

// cut is the lifetime at which flows must end so that their mean is at most want, in seconds; where none is
// short enough it is the lifetime that nine in ten flows do not exceed.
func (p *planner) cut(want float64) float64 {
	l := p.Demand.Lifetimes
	longest := l[len(l)-1].Seconds
	if want <= 0 || want >= l.Mean() {
		return max(l.Quantile(0.9), longest/10)
	}
	low, high := 0.0, longest
	for range 50 {
		mid := (low + high) / 2
		if l.CutMean(mid) <= want {
			low = mid
		} else {
			high = mid
		}
	}
	return low
}

// cut returns the law when no flow lives longer than t seconds.
func (l Law) cut(t float64) Law {
	out := slices.Clone(l)
	for i := range out {
		out[i].Seconds = min(out[i].Seconds, t)
	}
	return out
}

// calls is how many calls must share a connection for the target to be met, 10 where none is enough, from 2 on.
func (p *planner) calls(today Answer) float64 {
	k := p.peaks(&p.budget.TCP, &p.Demand, p.Demand.Rate, p.sharers(p.budget, p.Nodes))
	most := k.mostLoad(today.Effective, p.Target)
	live := k.load * (k.hold - today.CoolDown) / k.hold
	if most <= live {
		return 10
	}
	return max(2, math.Ceil((k.load-live)/(most-live)))
}

// destinationChanges are the changes to where flows go.
func (p *planner) destinationChanges() []Change {
	b, d := p.budget, &p.Demand
	half := *d
	half.Rate, half.Low, half.High = d.Rate/2, d.Low/2, d.High/2
	second := Change{
		Name: "a second address of the destination, used by half of the flows", Answer: p.answer(b, &half, p.Nodes),
		Why: "flows to different addresses may use the same port",
	}
	if b.TCP.Unique == budget.PerNothing {
		second.Answer = p.answer(b, d, p.Nodes)
		second.Why = "a port serves one flow at a time here, whatever its destination"
	}
	out := []Change{second}
	private := Change{
		Name: "the destination behind a private endpoint",
		Why:  "its flows leave the NAT; the next-busiest destination counts then",
	}
	rest := *d
	next := d.Next
	if math.IsNaN(next) {
		next, private.unknown = 0, true
		private.Why = "its flows leave the NAT; what the next-busiest destination holds is not known"
	}
	rest.Rate, rest.Low, rest.High = d.Rate*next, d.Low*next, d.High*next
	private.Answer = p.answer(b, &rest, p.Nodes)
	if b.Local {
		private.Answer, private.Why = p.answer(b, d, p.Nodes), "a private address takes local ports as well"
	}
	return append(out, private)
}

// span prints seconds for people.
func span(s float64) string {
	switch d := time.Duration(s * float64(time.Second)); {
	case s < 1:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 600:
		return fmt.Sprintf("%.0f s", s)
	case s < 7200:
		return fmt.Sprintf("%.0f min", s/60)
	case s < 2*86400:
		return fmt.Sprintf("%.1f h", s/3600)
	}
	return fmt.Sprintf("%.0f days", s/86400)
}
