package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/internal/backtest"
)

func backtestCommand(app *kingpin.Application) command {
	c := app.Command("backtest", "Replays recorded or generated flows through the ledger and its forecast, and prints "+
		"how accurate it was, beside what people use today.")
	var b backtest.Command
	var coolDowns, tick string
	var sized [3]bool
	c.Arg("file", "Recorded flows: CSV with a header, Zeek's conn.log as TSV or JSON, or a flow log of AWS VPC, Azure, "+
		"Google Cloud, nfdump or conntrack -E -o timestamp; gzipped or not.").
		StringsVar(&b.Files)
	c.Flag("scenario", "Generate flows instead: all (to compare methods), loads (to test "+
		"the page), or one of "+strings.Join(backtest.ScenarioNames(), ", ")+".").PlaceHolder("NAME").StringVar(&b.Scenario)
	c.Flag("profile", "Only one profile of the scenarios: P0 (calls of seconds, no cool-down), P15 or P240 (calls of 50 "+
		"ms, a cool-down of 15 or 240 s).").StringVar(&b.Profile)
	c.Flag("hours", "Length of a scenario's run; of day and night nine times this.").Default("8").IsSetByUser(&sized[0]).
		Float64Var(&b.Hours)
	c.Flag("seeds", "Runs of each scenario and profile that are scored.").Default("3").IsSetByUser(&sized[1]).
		IntVar(&b.Seeds)
	c.Flag("train-seeds", "Other runs, to fit thresholds on.").Default("2").IsSetByUser(&sized[2]).IntVar(&b.TrainSeeds)
	c.Flag("first-seed", "First seed of the scored runs. Seeds from 1000 on are for choosing constants.").Default("1").
		Uint64Var(&b.FirstSeed)
	c.Flag("quick", "One seed of two hours, and one to fit on.").BoolVar(&b.Quick)
	c.Flag("train", "Print the constants of the forecast's factory as the training seeds of all scenarios and "+
		"loads lead to them.").BoolVar(&b.Train)
	c.Flag("oracle", "Score an oracle as well that knows the present rate and law of lifetimes: how much of what can be "+
		"known the forecast knows.").BoolVar(&b.Oracle)
	c.Flag("ablate", "Score the forecast without each of its parts as well.").BoolVar(&b.Ablate)
	c.Flag("tick", "Time between two looks at the ledger; it must divide a minute.").Default("1s").StringVar(&tick)
	c.Flag("budget", "Ports of one port space. Default: the model's; for static a number that the flows reach.").
		PlaceHolder("PORTS").IntVar(&b.Ports)
	c.Flag("model", "Budget model of a record.").Default("static").StringVar(&b.Model)
	c.Flag("nodes", "Pool size, for a model that takes it.").IntVar(&b.Nodes)
	c.Flag("vips", "Number of VIPs, for a model that takes it.").IntVar(&b.VIPs)
	c.Flag("cooldown", "Cool-downs to assume, whatever the close reason, such as 0s,240s. Default: the model's; for "+
		"static 0s,15s,65s,240s, with --trace 240s.").PlaceHolder("LIST").StringVar(&coolDowns)
	c.Flag("source", "Only the flows of this source, which stands for one node.").StringVar(&b.Source)
	c.Flag("json", "Print all figures as JSON.").BoolVar(&b.JSON)
	c.Flag("trace", "Write what the forecast said, one row per tick and "+
		"port space, as CSV: "+strings.Join(backtest.TraceHeader(), ",")+".").PlaceHolder("FILE").StringVar(&b.Trace)
	c.Flag("html", "Write a page with held ports, forecast band and warnings drawn over time.").PlaceHolder("FILE").
		StringVar(&b.HTML)
	return command{c, func(ctx context.Context, e *env, _ *slog.Logger) error {
		b.Sized = sized[0] || sized[1] || sized[2]
		if err := replay(ctx, e, &b, tick, coolDowns); err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		return nil
	}}
}

func replay(ctx context.Context, e *env, b *backtest.Command, tick, coolDowns string) error {
	var err error
	if b.Tick, err = parseSeconds("tick", tick); err != nil {
		return err
	}
	for _, s := range strings.FieldsFunc(coolDowns, func(r rune) bool { return r == ',' }) {
		d, err := parseSeconds("cool-down", s)
		if err != nil {
			return err
		}
		b.CoolDowns = append(b.CoolDowns, d)
	}
	b.Parallel = runtime.GOMAXPROCS(0)
	b.Now = time.Now
	b.Bar = backtest.NewBar(nil)
	if f, ok := e.stderr.(*os.File); ok && isTerminal(f) {
		b.Bar = backtest.NewBar(f)
	}
	return b.Run(ctx, e.stdout, e.stderr)
}

// parseSeconds reads a duration; a bare number is seconds.
func parseSeconds(what, s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		d, err = time.ParseDuration(s + "s")
	}
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%s %q: want seconds or a duration such as 240s", what, s)
	}
	return d, nil
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
