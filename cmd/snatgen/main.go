// Command snatgen writes the files of the alert and recording rules, of the dashboards, and the table of metrics in
// detector/metrics/README.md, from the Go values in rules, dashboards and detector/metrics.
package main

import (
	"fmt"
	"io"
	"os"
	"regexp"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/cli"
	"github.com/snatwatch/snatwatch/rules"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "snatgen:", err)
		os.Exit(1)
	}
}

// run writes all files or, on any error, none.
func run(args []string, out io.Writer) error {
	o := rules.Default()
	app := kingpin.New("snatgen", "Writes the rules, dashboards and samples of snatwatch; with flags, a set of your own.")
	app.Terminate(nil)
	app.UsageWriter(out)
	app.HelpFlag.Short('h')
	dir := app.Flag("out", "Folder to write the files below.").Default(".").String()
	release := app.Flag("release", "Label release of the operator's objects.").Default("kube-prometheus-stack").String()
	boardLabel := app.Flag("dashboard-label", "Label of the boards' ConfigMaps; its value is 1.").
		Default("grafana_dashboard").String()
	shards := app.Flag("shard", "Regular expression of clusters whose rules go to a folder of their own, rules/shard-1 "+
		"for the first: one evaluator for each. May be repeated.").Strings()
	ruleFlags(app, &o)
	help := false
	app.PreAction(func(c *kingpin.ParseContext) error {
		for _, e := range c.Elements {
			if f, ok := e.Clause.(*kingpin.FlagClause); ok && f.Model().Name == "help" {
				help = true
			}
		}
		return nil
	})
	if _, err := cli.Parse(app, args); err != nil || help {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	// of Kubernetes: the value of a label, or its name after any prefix
	const word = `[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?`
	if !regexp.MustCompile("^" + word + "$").MatchString(*release) {
		return fmt.Errorf("--release=%s: want at most 63 letters, digits, _, - and ., a letter or digit at both ends",
			*release)
	}
	if !regexp.MustCompile("^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?" + word + "$").MatchString(*boardLabel) {
		return fmt.Errorf("--dashboard-label=%s: want at most 63 letters, digits, _, - and ., a letter or digit at both "+
			"ends, such as grafana_dashboard or example.com/board", *boardLabel)
	}
	files, err := generate(o, *release, *boardLabel)
	if err != nil {
		return err
	}
	if err := shard(files, o, *shards); err != nil {
		return err
	}
	if body, err := readme(*dir); err != nil {
		return err
	} else if body != nil {
		files[metricsReadme] = body
	}
	return write(*dir, files, out)
}

func ruleFlags(app *kingpin.Application, o *rules.Options) {
	text := func(name, help string, v *string) { app.Flag(name, help).Default(*v).StringVar(v) }
	text("selector", `Label matchers added to every metric, such as job="snatwatch".`, &o.Selector)
	text("cluster-label", "Label that tells clusters apart.", &o.ClusterLabel)
	text("severity-critical", "Value of the label severity for a page.", &o.Critical)
	text("severity-warning", "Value of the label severity for a ticket.", &o.Warning)
	text("severity-info", "Value of the label severity for a note.", &o.Info)
	text("runbook-url", "Address to which NAME.md is added.", &o.RunbookURL)
	text("grafana-url", "Address of the Grafana that has the boards; with it each alert links to its panel.",
		&o.GrafanaURL)
	text("page-horizon", "Horizon of the page: 1m, 5m, 15m or 1h. Agents tell the urgency of 5m alone: at any other the "+
		"probability raises the page.", &o.PageHorizon)
	text("ticket-horizon", "Horizon of the ticket.", &o.TicketHorizon)
	app.Flag("fleet-interval", "How often what pages need soonest is recorded, and the pages that --page-interval does "+
		"not concern are evaluated; other sums and tickets half to a thirty-second as often.").
		Default(o.FleetInterval.String()).DurationVar(&o.FleetInterval)
	app.Flag("engine", "What evaluates the rules: prometheus, victoriametrics or thanos.").Default(string(o.Engine)).
		StringVar((*string)(&o.Engine))
	app.Flag("page-interval", "How often the pages of nodes are evaluated; 0s for the server's own interval.").
		Default(o.PageInterval.String()).DurationVar(&o.PageInterval)
	t := &o.Thresholds
	for _, f := range []struct {
		name, help string
		v          *float64
	}{
		{"page", "Urgency that raises the page; of a gateway, the probability at the page horizon.", &t.Page},
		{"page-clear", "Probability below which the page clears.", &t.PageClear},
		{"ticket", "Probability at the ticket horizon that raises the ticket.", &t.Ticket},
		{"ticket-clear", "Probability below which the ticket clears.", &t.TicketClear},
		{"failure-ratio", "Share of opens that fail.", &t.FailureRatio},
		{"failure-rate", "Failed opens per second that it takes as well.", &t.FailureRate},
		{"tier-nodes", "Nodes left before a tier's edge.", &t.TierNodes},
		{"leak-growth", "Growth of the hold time within an hour.", &t.LeakGrowth},
		{"leak-arrivals", "Growth of arrivals that it must stay below.", &t.LeakArrivals},
		{"dominates", "Fill of one destination.", &t.Dominates},
		{"dominates-share", "Its share of all held ports.", &t.DominatesShare},
		{"idle-rate", "Idle-expired TCP flows per second.", &t.IdleRate},
		{"stale-seconds", "Age of a snapshot.", &t.StaleSeconds},
		{"brier", "Brier score of past forecasts.", &t.Brier},
		{"conntrack-table", "Fill of a conntrack table that is as good as full.", &t.ConntrackTable},
		{"insert-failed-rate", "New flows per second that conntrack fails to insert.", &t.InsertFailedRate},
		{"correlation", "Correlation between nodes behind one gateway, 0 to 1.", &t.Correlation},
	} {
		app.Flag("threshold."+f.name, f.help).Default(fmt.Sprint(*f.v)).Float64Var(f.v)
	}
}
