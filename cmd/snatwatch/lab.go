package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/lab"
)

// labOptions are the flags of the lab.
type labOptions struct {
	lab.Options
	serve    bool
	measure  bool
	incident lab.Incident
	timeline timelineOptions
	agent    options
	// elsewhere is where, inside the lab's router, an agent serves that the lab does not run; empty if it runs one.
	elsewhere string
}

func labCommand(app *kingpin.Application) command {
	o := labOptions{incident: lab.DefaultIncident()}
	c := app.Command("lab", "The incident on this machine: nodes, a NAT router and servers in network namespaces, real "+
		"flows, and a table of what the kernel counts. Needs root; leaves nothing behind.")
	c.Flag("step", "Step to run, may be repeated: "+strings.Join(lab.Steps(), ", ")+". Default: all.").
		PlaceHolder("NAME").EnumsVar(&o.Steps, lab.Steps()...)
	c.Flag("json", "Print JSON instead of a table.").BoolVar(&o.JSON)
	o.timeline.register(c)
	c.Flag("serve", "Run the agent on the lab's router meanwhile, and play the incident after the steps "+
		"until interrupted.").BoolVar(&o.serve)
	c.Flag("measure", "Run steps; --no-measure with --serve goes straight to the incident.").Default("true").
		BoolVar(&o.measure)
	for stage := range lab.NumStages {
		d := &o.incident.Durations[stage]
		c.Flag("incident."+stage.String(), "How long the incident's stage "+stage.String()+" lasts.").
			Default(d.String()).DurationVar(d)
	}
	c.Flag("incident.slow", "Time that the slow store takes to answer, at the height of the burst.").
		Default(o.incident.Slow.String()).DurationVar(&o.incident.Slow)
	c.Flag("incident.rate", "Calls per second at the height of the burst.").Default(fmt.Sprint(o.incident.BurstRate)).
		Float64Var(&o.incident.BurstRate)
	c.Flag("agent", "Address inside the lab's router, such as 127.0.0.1:9959, of an agent that you start there once "+
		"the lab tells the router's namespace. The lab then runs none of its own and serves that one at "+
		"--web.listen-address.").PlaceHolder("ADDRESS").StringVar(&o.elsewhere)
	o.agent.web = webFlags(c)
	o.agent.listenSet = true // the lab's agent has no config file
	return command{c, func(ctx context.Context, e *env, logger *slog.Logger) error {
		return runLab(ctx, e, &o, logger)
	}}
}

func runLab(ctx context.Context, e *env, o *labOptions, logger *slog.Logger) error {
	if o.timeline.play {
		return playTimeline(ctx, e, o, logger)
	}
	if o.elsewhere != "" && !o.serve {
		return errors.New("--agent is for --serve and --timeline")
	}
	run := o.Options
	if o.serve {
		run.IncidentOnly = !o.measure
		run.Incident = &o.incident
		run.Incident.Observe = tellStages(logger)
		watch, err := o.watch(e, logger)
		if err != nil {
			return err
		}
		run.Watch, run.Ready = watch.run, watch.ready
	}
	err := lab.Run(ctx, e.stdout, run)
	if !o.serve && errors.Is(err, context.Canceled) {
		return errors.New("lab: interrupted before all steps had run")
	}
	return err
}

// tellStages logs the start of each stage of the incident, and its numbers every ten seconds.
func tellStages(logger *slog.Logger) func(lab.Moment) {
	stage, next := lab.NumStages, time.Time{}
	return func(m lab.Moment) {
		if m.Stage == stage && m.At.Before(next) {
			return
		}
		stage, next = m.Stage, m.At.Add(10*time.Second)
		logger.Info("incident", "stage", m.Stage, "live", m.Live, "opening", m.Opening,
			"calls", m.Calls, "answered", m.Answered, "failed", m.Failed)
	}
}
