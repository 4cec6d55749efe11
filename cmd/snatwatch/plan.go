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
)

// planFlags are the flags of plan.
type planFlags struct {
	in             plan.Input
	opens          float64
	uncertainty    float64
	lifetime, ends string
	next           float64
	doublingDays   float64
	json           bool
}

func planCommand(app *kingpin.Application) command {
	var f planFlags
	c := app.Command("plan", "Says what would keep ports from running out, and by how much: VIPs, pool size, allocation, hold times; what each change buys and what does nothing. From numbers that you give.")
	b := &f.in.Budget
	c.Flag("model", "Budget model of today, as check lists them.").Default("azure-lb").StringVar(&b.Model)
	c.Flag("nodes", "Nodes in the pool, or behind the gateway.").PlaceHolder("N").IntVar(&f.in.Nodes)
	c.Flag("vips", "VIPs of today.").PlaceHolder("N").IntVar(&b.VIPCount)
	c.Flag("ports", "Ports of each node, for the models that are given them.").PlaceHolder("N").IntVar(&b.Ports)
	c.Flag("max-ports", "Where an allocation that grows on demand stops.").PlaceHolder("N").IntVar(&b.MaxPorts)
	c.Flag("evict-time-wait", "The kernel gives the port of a closed flow to a new one: Linux 6.5 and later, model linux.").BoolVar(&b.EvictsTimeWait)
	c.Flag("opens", "Opens per second of one node to its busiest destination, at the peak.").PlaceHolder("RATE").Float64Var(&f.opens)
	c.Flag("uncertainty", "How far the opens per second may be off, as a share.").Default("0.1").Float64Var(&f.uncertainty)
	c.Flag("lifetime", "Lifetimes, open to close: one for all, or several with their shares.").PlaceHolder("50ms:0.9,30s:0.1").StringVar(&f.lifetime)
	c.Flag("ends", "Shares of flows by how they end; without it all end by FIN.").PlaceHolder("fin:0.9,rst:0.1").StringVar(&f.ends)
	c.Flag("spread", "Relative standard deviation of the peak's load from day to day.").Default("0.1").Float64Var(&f.in.Demand.Spread)
	c.Flag("peakedness", "Variance over mean of the ports held within a peak; 1 for independent arrivals.").Default("1").Float64Var(&f.in.Demand.Peakedness)
	c.Flag("peak", "How long a day's peak lasts.").Default("1h").DurationVar(&f.in.Demand.Peak)
	c.Flag("next", "Load of the next-busiest destination, as a share of the busiest one's.").Default("NaN").Float64Var(&f.next)
	c.Flag("target", "Probability of exhaustion within a day that is accepted.").Default("0.01").Float64Var(&f.in.Target)
	c.Flag("doubling-days", "Days in which the load doubles; 0 is no growth.").Default("0").Float64Var(&f.doublingDays)
	c.Flag("cpu", "Share of the nodes' processors in use at the peak; 0 is unknown.").Default("0").Float64Var(&f.in.CPU)
	c.Flag("json", "Print JSON instead of a table.").BoolVar(&f.json)
	return command{c, func(ctx context.Context, e *env, _ *slog.Logger) error {
		if err := runPlan(ctx, e, &f); err != nil {
			return fmt.Errorf("plan: %w", err)
		}
		return nil
	}}
}

func runPlan(_ context.Context, e *env, f *planFlags) error {
	if err := f.numbers(); err != nil {
		return err
	}
	p, err := plan.Make(f.in)
	if err != nil {
		return err
	}
	if f.json {
		return p.WriteJSON(e.stdout)
	}
	return p.WriteText(e.stdout)
}

// numbers takes the demand from flags.
func (f *planFlags) numbers() error {
	d := &f.in.Demand
	switch {
	case f.opens == 0 && f.lifetime == "":
		return errors.New("no demand: give --opens and --lifetime")
	case f.opens == 0:
		return errors.New("no arrivals: give --opens, more than 0 a second")
	case f.lifetime == "":
		return errors.New("no lifetimes: give --lifetime")
	case !(f.uncertainty >= 0 && f.uncertainty < 1):
		return fmt.Errorf("uncertainty %v: want 0 up to 1", f.uncertainty)
	case !(f.doublingDays >= 0 && f.doublingDays < 36500):
		return fmt.Errorf("doubling in %v days: want 0 to 36500", f.doublingDays)
	case f.in.Target == 0:
		return errors.New("target probability 0: no number of ports meets it")
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
		out[name] = v
	}
	return out, nil
}
