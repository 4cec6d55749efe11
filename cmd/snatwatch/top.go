package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/internal/remote"
	"github.com/snatwatch/snatwatch/internal/top"
)

// topFlags are the flags of top.
type topFlags struct {
	agent, prometheus string
	agentGiven        bool
	once, json        bool
	every             time.Duration
	sort, filter      string
	width             int
}

func topCommand(app *kingpin.Application) command {
	var f topFlags
	c := app.Command("top", "Port spaces in the terminal, the soonest to run out first: held against budget, "+
		"opens per second, hold time, time left, failures, owners. Keys: q quit, s sort, / filter, space "+
		"pause, enter owners.")
	c.Flag("agent", "Agent to ask; without it the agent of this machine, http://127.0.0.1:9959.").
		Default("http://127.0.0.1:9959").PlaceHolder("URL").IsSetByUser(&f.agentGiven).StringVar(&f.agent)
	c.Flag("prometheus", "Prometheus of a fleet to ask instead of one agent.").PlaceHolder("URL").StringVar(&f.prometheus)
	c.Flag("once", "Print the table once, as is always done when the output is no terminal.").BoolVar(&f.once)
	c.Flag("json", "Print it once as JSON.").BoolVar(&f.json)
	c.Flag("interval", "Time between two looks.").Default("2s").DurationVar(&f.every)
	c.Flag("sort", "What rows are sorted by: "+strings.Join(top.Orders(), ", ")+".").
		Default("left").EnumVar(&f.sort, top.Orders()...)
	c.Flag("filter", "Show rows that have this in a name.").PlaceHolder("TEXT").StringVar(&f.filter)
	c.Flag("width", "Columns of the table that is printed once; 0 is the terminal's, or "+
		"80.").Default("0").IntVar(&f.width)
	return command{c, func(ctx context.Context, e *env, _ *slog.Logger) error {
		if err := runTop(ctx, e, &f); err != nil {
			return fmt.Errorf("top: %w", err)
		}
		return nil
	}}
}

func runTop(ctx context.Context, e *env, f *topFlags) error {
	if f.every < 100*time.Millisecond {
		return fmt.Errorf("interval %v: want 100ms or more", f.every)
	}
	if f.width != 0 && f.width < 40 {
		return fmt.Errorf("width %d: want 40 or more", f.width)
	}
	if f.agentGiven && f.prometheus != "" {
		return errors.New("either --agent or --prometheus")
	}
	source := top.FromAgent(f.agent)
	if f.prometheus != "" {
		p, err := remote.NewPrometheus(f.prometheus)
		if err != nil {
			return err
		}
		source = top.FromPrometheus(p)
	}
	order, _ := top.ParseOrder(f.sort)
	columns, terminal := terminalWidth(e.stdout)
	colour := terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if f.once || f.json || !terminal {
		return printTop(ctx, e, f, source, order, columns, colour)
	}
	if f.filter != "" {
		return errors.New("--filter is for --once and --json; press / in the live table")
	}
	return top.Screen{In: os.Stdin, Out: e.stdout, Colour: colour, Every: f.every, Order: order}.Live(ctx, source)
}

// printTop prints the table once.
func printTop(ctx context.Context, e *env, f *topFlags, source top.Source, order top.Order, columns int,
	colour bool,
) error {
	t, err := source(ctx)
	if err != nil {
		return err
	}
	t.Rows = top.Filter(t.Rows, f.filter)
	top.Sort(t.Rows, order)
	if f.json {
		enc := json.NewEncoder(e.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(t)
	}
	if f.width > 0 {
		columns = f.width
	}
	_, err = io.WriteString(e.stdout, top.Text(t, t.Rows, columns, colour, order))
	return err
}

// terminalWidth is the width of the terminal that w is, 80 where it is none.
func terminalWidth(w io.Writer) (columns int, terminal bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 80, false
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 80, false
	}
	if size.Col < 40 {
		return 80, true
	}
	return int(size.Col), true
}
