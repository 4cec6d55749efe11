package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/timeline"
)

// timelineOptions are the flags of lab --timeline.
type timelineOptions struct {
	timeline.Options
	play bool
}

// pageAt is detector.PageRaise, as a test says.
const pageAt = "0.5"

func (o *timelineOptions) register(c *kingpin.CmdClause) {
	c.Flag("timeline", "Play the incident once, watched by the agent, by a real Prometheus for each interval and by a "+
		"real Alertmanager, and print what happened when. Run it in the repository's folder.").BoolVar(&o.play)
	c.Flag("prometheus", "Program that --timeline starts.").Default("prometheus").StringVar(&o.Prometheus)
	c.Flag("alertmanager", "Program that --timeline starts; Debian's prometheus-alertmanager is found too.").
		Default("alertmanager").StringVar(&o.Alertmanager)
	c.Flag("rules", "Folder of rule files for --timeline.").Default("rules").StringVar(&o.Rules)
	c.Flag("routing", "Alertmanager's configuration for --timeline.").Default("deploy/alertmanager/alertmanager.yml").
		StringVar(&o.Routing)
	c.Flag("page-at", "Urgency at which the rules raise the page.").Default(pageAt).
		Float64Var(&o.PageAt)
	c.Flag("interval", "Scrape and evaluation interval for --timeline, may be repeated.").Default("5s", "15s", "30s").
		DurationListVar(&o.Intervals)
}

// playTimeline plays the incident once, with the agent on the lab's router.
func playTimeline(ctx context.Context, e *env, o *labOptions, logger *slog.Logger) error {
	address, err := scrapeAddress(*o.agent.web.WebListenAddresses)
	if err != nil {
		return err
	}
	t := o.timeline.Options
	t.Agent = address
	watch, err := o.watch(e, logger)
	if err != nil {
		return err
	}
	return timeline.Play(ctx, e.stdout, t, func(ctx context.Context, observe func(lab.Moment)) error {
		in := o.incident
		in.Observe = observe
		return lab.Run(ctx, e.stdout, lab.Options{
			IncidentOnly: true, IncidentOnce: true, Incident: &in,
			Watch: watch.run, Ready: watch.ready,
		})
	})
}

// scrapeAddress returns the address at which a Prometheus on this machine reaches the agent.
func scrapeAddress(listen []string) (string, error) {
	if len(listen) == 0 {
		return "", errors.New("--web.listen-address: want an address")
	}
	host, port, err := net.SplitHostPort(listen[0])
	if err != nil {
		return "", fmt.Errorf("--web.listen-address=%s: %w", listen[0], err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
