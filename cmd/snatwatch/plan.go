package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/plan"
	"github.com/snatwatch/snatwatch/internal/plan/measured"
	"github.com/snatwatch/snatwatch/internal/remote"
)

// planFlags are the flags of plan.
type planFlags struct {
	in                    plan.Input
	agent, prometheus     string
	budget, pool, gateway string
	over                  time.Duration
	opens                 float64
	uncertainty           float64
	lifetime, ends        string
	next                  float64
	doublingDays          float64
	json                  bool
	files                 []string
	lines                 []string         // what was found in them
	set                   map[string]*bool // whether a flag was given, by flag: 0 is a number too
}

func planCommand(app *kingpin.Application) command {
	f := planFlags{set: map[string]*bool{}}
	set := func(name string) *bool {
		f.set[name] = new(bool)
		return f.set[name]
	}
	c := app.Command("plan", "Says what would keep ports from running out, and by how much: VIPs, pool size, "+
		"allocation, hold times; what each change buys and what does nothing. From a running agent, from "+
		"Prometheus, from flow logs, or from numbers that you give.")
	b := &f.in.Budget
	c.Flag("agent", "Take budget and demand from a running agent, as they are "+
		"now.").PlaceHolder("URL").StringVar(&f.agent)
	c.Flag("prometheus", "Take them from the metrics of a fleet, with the peaks of "+
		"--range.").PlaceHolder("URL").StringVar(&f.prometheus)
	c.Flag("range", "How far back Prometheus is asked.").Default("168h").DurationVar(&f.over)
	c.Flag("budget", "Budget of the agent or the fleet, where there are several; without it the agent's "+
		"fullest.").PlaceHolder("NAME").StringVar(&f.budget)
	c.Flag("pool", "Pool of the fleet.").PlaceHolder("NAME").StringVar(&f.pool)
	c.Flag("gateway", "Gateway of the fleet.").PlaceHolder("NAME").StringVar(&f.gateway)
	c.Flag("model", "Budget model of today; a wrong one is answered with the list of all.").Default("azure-lb").
		StringVar(&b.Model)
	c.Flag("nodes", "Nodes in the pool, or behind the gateway.").PlaceHolder("N").
		IsSetByUser(set("nodes")).IntVar(&f.in.Nodes)
	c.Flag("vips", "VIPs of today.").PlaceHolder("N").IsSetByUser(set("vips")).IntVar(&b.VIPCount)
	c.Flag("ports", "Ports of each node, for the models that are given them.").PlaceHolder("N").
		IsSetByUser(set("ports")).IntVar(&b.Ports)
	c.Flag("max-ports", "Where an allocation that grows on demand stops.").PlaceHolder("N").
		IsSetByUser(set("max-ports")).IntVar(&b.MaxPorts)
	c.Flag("evict-time-wait", "The kernel gives the port of a closed flow to a new one: Linux 6.5 and later, "+
		"model linux.").BoolVar(&b.EvictsTimeWait)
	c.Flag("opens", "Opens per second of one node to its busiest destination, at the "+
		"peak.").PlaceHolder("RATE").Float64Var(&f.opens)
	c.Flag("uncertainty", "How far the opens per second may be off, as a "+
		"share.").Default("0.1").Float64Var(&f.uncertainty)
	c.Flag("lifetime", "Lifetimes, open to close: one for all, or several with their "+
		"shares.").PlaceHolder("50ms:0.9,30s:0.1").StringVar(&f.lifetime)
	c.Flag("ends", "Shares of flows by how they end; without it all end by "+
		"FIN.").PlaceHolder("fin:0.9,rst:0.1").StringVar(&f.ends)
	c.Flag("spread", "Relative standard deviation of the peak's load from day to "+
		"day.").Default("0.1").Float64Var(&f.in.Demand.Spread)
	c.Flag("peakedness", "Variance over mean of the ports held within a peak; 1 for independent "+
		"arrivals.").Default("1").Float64Var(&f.in.Demand.Peakedness)
	c.Flag("peak", "How long a day's peak lasts.").Default("1h").DurationVar(&f.in.Demand.Peak)
	c.Flag("next", "Load of the next-busiest destination, as a share of the busiest one's; NaN is "+
		"unknown.").Default("NaN").Float64Var(&f.next)
	c.Flag("target", "Probability of exhaustion within a day that is "+
		"accepted.").Default("0.01").Float64Var(&f.in.Target)
	c.Flag("doubling-days", "Days in which the load doubles; 0 is no growth.").Default("0").Float64Var(&f.doublingDays)
	c.Flag("cpu", "Share of the nodes' processors in use at the peak; 0 is unknown.").Default("0").Float64Var(&f.in.CPU)
	c.Flag("json", "Print JSON instead of a table.").BoolVar(&f.json)
	c.Arg("file", "Flow logs to take the demand from, under today's budget as the flags say: AWS VPC, Azure, "+
		"Google Cloud, Zeek, nfdump's CSV, conntrack -E -o timestamp, CSV as backtest takes it, or the "+
		"directory that record wrote to.").StringsVar(&f.files)
	return command{c, func(ctx context.Context, e *env, _ *slog.Logger) error {
		if err := runPlan(ctx, e, &f); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		return nil
	}}
}

func runPlan(ctx context.Context, e *env, f *planFlags) error {
	err := f.input(ctx)
	var p *plan.Plan
	if err == nil {
		p, err = plan.Make(f.in)
	}
	if err != nil {
		if len(f.lines) > 0 { // what the files hold is printed even where it is not enough to plan from
			_, _ = fmt.Fprintln(e.stdout, strings.Join(f.lines, "\n"))
		}
		return err
	}
	if f.json {
		return p.WriteJSON(e.stdout)
	}
	if err := p.WriteText(e.stdout); err != nil {
		return err
	}
	if len(f.lines) == 0 {
		return nil
	}
	_, err = fmt.Fprintf(e.stdout, "\nMeasured\n  %s\n", strings.Join(f.lines, "\n  "))
	return err
}

// input takes the demand from where the flags say.
func (f *planFlags) input(ctx context.Context) (err error) {
	given := f.in
	for _, n := range []struct {
		flag  string
		value int
	}{
		{"nodes", given.Nodes},
		{"vips", given.Budget.VIPCount},
		{"ports", given.Budget.Ports},
		{"max-ports", given.Budget.MaxPorts},
	} {
		if n.value == 0 && *f.set[n.flag] {
			return fmt.Errorf("%s: 0, want 1 or more", n.flag)
		}
	}
	switch {
	case f.in.Target == 0:
		return errors.New("target probability 0: no number of ports meets it")
	case !(f.doublingDays >= 0 && f.doublingDays < 36500):
		return fmt.Errorf("doubling in %v days: want 0 to 36500", f.doublingDays)
	case f.agent != "" && f.prometheus != "", len(f.files) > 0 && f.agent+f.prometheus != "":
		return errors.New("either --agent or --prometheus or files")
	case f.agent+f.prometheus+strings.Join(f.files, "") != "" && (f.opens != 0 || f.lifetime != ""):
		return errors.New("the demand is measured or given: not --opens and --lifetime beside --agent, " +
			"--prometheus or files")
	case f.agent != "":
		f.in, err = measured.FromAgent(ctx, f.agent, f.budget)
	case f.prometheus != "":
		var p *remote.Prometheus
		if p, err = remote.NewPrometheus(f.prometheus); err == nil {
			f.in, err = measured.FromPrometheus(ctx, p, measured.Fleet{
				Budget: f.budget, Pool: f.pool, Gateway: f.gateway, Range: f.over, Now: time.Now(),
			})
		}
	case len(f.files) > 0:
		given.Budget.Name, given.Budget.Nodes = "today", given.Nodes
		f.in, f.lines, err = measured.FromLogs(f.files, given.Budget)
		f.in.Now = time.Now()
	default:
		return f.numbers()
	}
	f.in.Target = given.Target
	if f.doublingDays > 0 {
		f.in.Doubling = time.Duration(f.doublingDays * 24 * float64(time.Hour))
	}
	if given.CPU > 0 {
		f.in.CPU = given.CPU
	}
	return err
}

// numbers takes the demand from flags.
func (f *planFlags) numbers() error {
	d := &f.in.Demand
	switch {
	case f.opens == 0 && f.lifetime == "":
		return errors.New("no demand: give --agent, --prometheus, files, or --opens and --lifetime")
	case f.opens == 0:
		return errors.New("no arrivals: give --opens, more than 0 a second")
	case f.lifetime == "":
		return errors.New("no lifetimes: give --lifetime")
	case !(f.uncertainty >= 0 && f.uncertainty < 1):
		return fmt.Errorf("uncertainty %v: want 0 up to 1", f.uncertainty)
	case !math.IsNaN(f.next) && !(f.next >= 0 && f.next <= 1):
		return fmt.Errorf("next-busiest destination %v: want a share from 0 to 1", f.next)
	}
	d.Rate, d.Low, d.High = f.opens, f.opens*(1-f.uncertainty), f.opens*(1+f.uncertainty)
	d.Next = f.next
	f.in.Doubling = time.Duration(f.doublingDays * 24 * float64(time.Hour))
	f.in.Now = time.Now()
	var err error
	if d.Lifetimes, err = plan.ParseLaw(f.lifetime); err != nil {
		return err
	}
	d.Ends, err = parseEnds(f.ends)
	return err
}

// parseEnds reads "fin:0.9,rst:0.1".
func parseEnds(text string) (map[string]float64, error) {
	if text == "" {
		return nil, nil
	}
	out := map[string]float64{}
	for part := range strings.SplitSeq(text, ",") {
		name, share, _ := strings.Cut(strings.TrimSpace(part), ":")
		v, err := strconv.ParseFloat(share, 64)
		if err != nil {
			return nil, fmt.Errorf("ends %q: want fin:0.9,rst:0.1", part)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("ends %q: %s is given twice", text, name)
		}
		out[name] = v
	}
	return out, nil
}
