package dashboards

import (
	"fmt"
	"strings"

	"github.com/snatwatch/snatwatch/detector/metrics"
	"github.com/snatwatch/snatwatch/rules"
	"github.com/snatwatch/snatwatch/rules/options"
	"github.com/snatwatch/snatwatch/rules/records"
)

// sel writes a metric with the matchers of the variables that its labels allow, and more.
func sel(o rules.Options, name metrics.Name, more ...string) string {
	matchers := []string{o.ClusterLabel + `=~"$cluster"`, `job=~"$job"`, `instance=~"$instance"`}
	for _, m := range metrics.Metrics() {
		if m.Name != name {
			continue
		}
		for _, l := range m.Labels {
			switch l {
			case metrics.LabelBudget:
				matchers = append(matchers, `budget=~"$budget"`)
			case metrics.LabelPool:
				matchers = append(matchers, `pool=~"$pool"`)
			}
		}
	}
	return series(string(name), append(matchers, more...)...)
}

// ofTarget writes what is asked of targets that may be no agents any more: the variable of nodes knows none of those
// that were silent for the board's time range.
func ofTarget(o rules.Options, name string, more ...string) string {
	return series(name, append([]string{o.ClusterLabel + `=~"$cluster"`, `job=~"$job"`}, more...)...)
}

// budgetInfo is the budget's info metric as the rules join it: one series for each agent and budget.
func budgetInfo(o rules.Options, more ...string) string {
	return "topk by (" + o.ClusterLabel + ", job, instance, budget) (1, " + sel(o, metrics.BudgetInfo, more...) + ")"
}

// While all pools are chosen, whole is true of series without a label of the pool, and part of none. While some are,
// part is true of all series, as no node is called like a pool, and whole of none without the label.
const (
	whole = `pool=~"$pool"`
	part  = `instance!~"$pool"`
)

// ofChosenPools keeps the series of budgets of the chosen pools. labels tell agents apart, or agents and their
// budgets. Most metrics have no label of the pool, so what is of other pools alone is left out. While all are chosen
// neither selector finds a series. An agent that tells no budget is of no other pool, and stays.
func ofChosenPools(o rules.Options, labels, expr string) string {
	// VictoriaMetrics finds series without the label for pool!~".*", too.
	others := series(string(metrics.BudgetInfo), o.ClusterLabel+`=~"$cluster"`, `job=~"$job"`, `instance=~"$instance"`,
		`pool!~"$pool"`, part)
	return "(" + expr + "\nunless " + on(o, labels) + " (" + others + " unless " + on(o, labels) + " " +
		sel(o, metrics.BudgetInfo, part) + "))"
}

// sumOfPools adds up by cluster and labels what x makes of a metric's series, of the chosen pools. While all are chosen
// nothing is matched with anything, which at each step of a graph would cost as much as to read it.
func sumOfPools(o rules.Options, labels string, x func(more string) string) string {
	return by(o, "sum", labels, x(whole)) + "\nor\n" +
		by(o, "sum", labels, ofChosenPools(o, agent+", budget", x(part)))
}

// inPools is sel, of budgets of the chosen pools.
func inPools(o rules.Options, name metrics.Name, more ...string) string {
	return ofChosenPools(o, agent+", budget", sel(o, name, more...))
}

// suffix is sel for one of the series of a histogram: _bucket, _sum or _count.
func suffix(o rules.Options, name metrics.Name, s string) string {
	return strings.Replace(sel(o, name), string(name), string(name)+s, 1)
}

// buckets is how much each bucket of a histogram of durations counts a second: of the native one where the server keeps
// it, and the classic ones by le where not.
func buckets(o rules.Options, name metrics.Name) string {
	native := "sum(" + rate(sel(o, name)) + ")"
	return native + "\nor\n(sum by (le) (" + rate(suffix(o, name, "_bucket")) + ")\nunless ignoring (le)\n" + native + ")"
}

// mean is the mean of a histogram of durations by cluster and labels, of the chosen pools, in a window of time. more
// are matchers. VictoriaMetrics keeps no native one, and has no histogram_sum.
func mean(o rules.Options, labels string, name metrics.Name, window string, more ...string) string {
	of := func(x func(pools string) string) string {
		return "(" + sumOfPools(o, labels, func(pools string) string { return "rate(" + x(pools) + window + ")" }) + ")"
	}
	named := func(suffix string) func(pools string) string {
		return func(pools string) string {
			return strings.Replace(sel(o, name, append([]string{pools}, more...)...), string(name), string(name)+suffix, 1)
		}
	}
	classic := fmt.Sprintf("%s\n/\n(%s > 0)", of(named("_sum")), of(named("_count")))
	if o.Engine == options.VictoriaMetrics {
		return classic
	}
	native := of(named(""))
	return fmt.Sprintf("histogram_sum(%s)\n/\n(histogram_count(%s) > 0)\nor\n%s", native, native, classic)
}

// fillOfNode is the fill of the fullest port space of each node's budget, of its own ceiling: port spaces of low source
// ports have one of their own, and tell their fill. of writes the series that are compared, more are matchers.
func fillOfNode(o rules.Options, of, ceiling func(series string) string, more ...string) string {
	each := func(expr string) string { return by(o, "max", agentBudget, expr) }
	return each(each(of(sel(o, metrics.BusiestPortsHeld, more...))) + " / " +
		each(ceiling(sel(o, metrics.BudgetEffectivePorts, more...))) + " or " + of(sel(o, metrics.LowPortsFill, more...)))
}

// ofNode, ofPool and ofGateway write recorded series with the variables that they have.
func ofNode(o rules.Options, name string, more ...string) string {
	return series(name, append([]string{
		o.ClusterLabel + `=~"$cluster"`, `job=~"$job"`, `instance=~"$instance"`,
		`budget=~"$budget"`,
	}, more...)...)
}

func ofPool(o rules.Options, name string, more ...string) string {
	return series(name, append([]string{o.ClusterLabel + `=~"$cluster"`, `pool=~"$pool"`, `budget=~"$budget"`},
		more...)...)
}

func ofGateway(o rules.Options, name string, more ...string) string {
	return series(name, append([]string{o.ClusterLabel + `=~"$cluster"`, `budget=~"$budget"`}, more...)...)
}

// behind leaves out the gateways behind which no chosen node is: recorded series of gateways know no node, pool or job.
// While all of these are chosen none of its selectors finds a series, as part does not, and nothing is read: to look up
// the gateway of each node costs as much as what it is asked of. more are matchers of gateways.
func behind(o rules.Options, expr string, more ...string) string {
	var all, chosen []string
	for _, v := range []struct{ name, other string }{{"job", "instance"}, {"pool", "instance"}, {"instance", "job"}} {
		none := func(label string) []string { return append([]string{label + `!~"$` + v.name + `"`}, more...) }
		all = append(all, ofGateway(o, records.GatewayPorts, none("protocol")...))
		chosen = append(chosen, sel(o, metrics.BudgetInfo, append(none(v.other), `scope="shared"`)...))
	}
	gateway := on(o, "budget, gateway")
	return expr + "\nunless " + gateway + " ((" + strings.Join(all, " or ") + ") unless " + gateway + "\n(" +
		strings.Join(chosen, " or ") + "))"
}

func series(name string, matchers ...string) string {
	return name + "{" + strings.Join(matchers, ", ") + "}"
}

func rate(expr string) string { return "rate(" + expr + perStep + ")" }

// perStep is the window of a rate at each step of a graph.
const perStep = "[$__rate_interval]"

// highest draws the eight lines of x that are highest at the end of the time range. x is given a window for rates.
func highest(o rules.Options, labels string, x func(window string) string) string {
	return fmt.Sprintf("(%s)\nand %s\ntopk(8, %s)", x(perStep), on(o, labels), x(perStep+" @ end()"))
}

// by aggregates by cluster, in which names are told apart, and labels.
func by(o rules.Options, op, labels, expr string) string {
	if labels != "" {
		labels = ", " + labels
	}
	return fmt.Sprintf("%s by (%s%s) (%s)", op, o.ClusterLabel, labels, expr)
}

// on matches by cluster and labels.
func on(o rules.Options, labels string) string { return "on (" + o.ClusterLabel + ", " + labels + ")" }

func at(horizon string) string { return fmt.Sprintf(`horizon="%s"`, horizon) }

// ofOne matches the one node by its name: Grafana writes a variable of one value as it is, which is no regular
// expression where the name is an IPv6 address in brackets.
func ofOne(expr string) string {
	return strings.NewReplacer(`instance=~"$instance"`, `instance="$instance"`, `instance=~"$instance|"`,
		`instance="$instance"`).Replace(expr)
}

// counted is how many there are, 0 where of says that there could be, and nothing where nothing is known: a 0 would
// be a false all-clear.
func counted(expr, of string) string { return "count(" + expr + ")\nor\n0 * count(" + of + ")" }

// peaks draws the eight lines of x that were highest in the whole time range. The highest at each step would be other
// ones from step to step: lines with holes.
func peaks(o rules.Options, labels, x string) string {
	return fmt.Sprintf("%s\nand %s\ntopk(8, max_over_time(%s[$__range] @ end()))", x, on(o, labels), x)
}

// heldBehind is what all nodes behind a gateway hold of a destination: what was recorded within two minutes, and no
// more than can be now, so that it falls as soon as the gateway is relieved. Where chosen is not empty, of the gateways
// alone that it returns; few are those that are read.
func heldBehind(o rules.Options, still func(series string) string, chosen string, few worst) string {
	held := ofGateway(o, records.GatewayHeld, few.matcher(o))
	return "((" + held + " - clamp_min(" + held + " - " + on(o, gateway) + " group_left ()\n" +
		mostBehind(o, still, chosen, few) + ", 0))\nor\n" + held + ")"
}

// leftBehind is the time that is left at a gateway, and not 0 while its nodes hold less than its ceiling. Where chosen
// is not empty, of the gateways alone that it returns; few are those that are read.
func leftBehind(o rules.Options, still func(series string) string, chosen string, few worst) string {
	left := ofGateway(o, records.GatewayTime, few.matcher(o))
	return left + " > 0\nor\n" + left + "\nunless " + on(o, gateway) + " (" + mostBehind(o, still, chosen, few) +
		" < " + on(o, gateway) + " " + ofGateway(o, records.GatewayPorts, few.matcher(o)) + ")"
}

// mostBehind is the most that all nodes behind a gateway can hold of one destination: what the fullest port spaces of
// all these nodes hold together. still writes what hardly moves, at each step or at the end. No variable of nodes
// narrows it, as what is recorded is of all nodes. A node that is scraped twice counts twice: it is a bound. Nodes of
// other clusters than those of few are not read, and nodes of gateways that are not chosen are left out before they are
// added up at each step.
func mostBehind(o rules.Options, still func(series string) string, chosen string, few worst) string {
	info := still(ofGateway(o, string(metrics.BudgetInfo), `scope="shared"`, few.matcher(o)))
	if chosen != "" {
		info += "\nand " + on(o, "budget, gateway") + " " + chosen
	}
	info = "topk by (" + o.ClusterLabel + ", " + agent + ", budget) (1, " + info + ")"
	return by(o, "sum", gateway, ofGateway(o, string(metrics.BusiestPortsHeld), few.clusters(o))+" * "+
		on(o, agent+", budget")+" group_left (gateway) "+info)
}

// atStep and atEnd are for still: series as they are at a step, and as they were at the end of the time range or last
// before.
func atStep(series string) string { return series }

func atEnd(series string) string { return "last_over_time(" + series + "[$__range] @ end())" }

// peaksOfPools draws the eight pools in which x was highest in the time range, of those that few matches, from what
// nodes tell: what is recorded by pool is up to four minutes old. x is given how to write what it is of, at each step
// or the highest, and how to write what hardly moves, at each step or at the end; it reads the clusters of few alone.
// Which node is of which pool was so at the end of the time range, or last before: to look for it at each step would
// cost more than all the rest. Nodes of other pools are left out first.
func peaksOfPools(o rules.Options, few worst, op string, x func(of, still func(series string) string) string) string {
	info := atEnd(sel(o, metrics.BudgetInfo, few.matcher(o)))
	some := func(write func(series string) string) func(series string) string {
		return func(series string) string {
			return "(" + write(series) + "\nand " + on(o, agent+", budget") + " " + info + ")"
		}
	}
	of := func(expr string) string {
		return by(o, op, pool, "("+expr+") * "+on(o, agent+", budget")+" group_left (pool) topk by ("+o.ClusterLabel+", "+
			agent+", budget) (1, "+info+")")
	}
	highest := func(series string) string { return "max_over_time(" + series + "[$__range] @ end())" }
	end := func(series string) string { return series + " @ end()" }
	return of(x(some(atStep), some(atStep))) + "\nand " + on(o, pool) + "\ntopk(8, " +
		of(x(some(highest), some(end))) + ")"
}

// The labels that tell one agent, one of its budgets, and a port space of nodes or of gateways, from another; the
// cluster aside.
const (
	agent       = "job, instance"
	agentBudget = agent + ", budget, protocol"
	space       = agentBudget + ", vip, destination"
	gateway     = "budget, gateway, protocol"
	shared      = gateway + ", vip, destination"
)

// pool tells one pool's budget from another.
const pool = "pool, budget, protocol"

// ofPoolNow aggregates by pool what each of its nodes tells now, by agent, budget and protocol; more are matchers of
// pools.
func ofPoolNow(o rules.Options, op, expr string, more ...string) string {
	return by(o, op, pool, "("+expr+") * "+on(o, agent+", budget")+" group_left (pool) "+budgetInfo(o, more...))
}

// pagesStart returns where alerts that page start, and no more: each was active since then, and regions of a whole
// fleet would cover every graph. what is a comma-separated list of labels that say what they are about.
func pagesStart(o rules.Options, what string) string {
	active := fmt.Sprintf(`ALERTS{alertname=~"Snat.+", alertstate="firing", severity=%q, %s=~"$cluster", `+
		`instance=~"$instance|"}`, o.Critical, o.ClusterLabel)
	labels := `"` + strings.ReplaceAll(what, ", ", `", "`) + `"`
	// A label that is missing would print its name: about is there always.
	return fmt.Sprintf("max by (alertname, about) (label_join(%s unless %s offset 15s, \"about\", \" \", %s))", active,
		active, labels)
}
