package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/record"
	"github.com/snatwatch/snatwatch/internal/words"
)

// recordFlags adds the flags that every recording has; each name begins with prefix. Call complete once kingpin has
// parsed them: its error is of a 0, which the options take for the default.
func recordFlags(c *kingpin.CmdClause, prefix string, o *record.Options) (complete func() error) {
	c.Flag(prefix+"rotate", "Age at which a file of the record ends and the next begins.").Default("1h").
		DurationVar(&o.Rotate)
	most := c.Flag(prefix+"max-bytes", "Most bytes of all files, at least 1MiB; the oldest are deleted to make room.").
		Default("256MiB").Bytes()
	c.Flag(prefix+"anonymise", "Replace addresses in the record, the same by the same, under a secret key that is made "+
		"at the start and not kept. Ports stay.").BoolVar(&o.Anonymise)
	return func() error {
		o.MaxBytes = int64(*most)
		switch {
		case o.Rotate == 0:
			return fmt.Errorf("--%srotate: 0s: want at least 1s", prefix)
		case o.MaxBytes == 0:
			return fmt.Errorf("--%smax-bytes: 0: want at least 1MiB", prefix)
		}
		return nil
	}
}

func recordCommand(app *kingpin.Application) command {
	c := app.Command("record", "Writes a row for each flow that ended, as compressed CSV that plan and backtest read. "+
		"Bounded in size. It reads conntrack, which needs CAP_NET_ADMIN.")
	var o record.Options
	c.Flag("out", "Directory for the files; it is made if it is not there.").Required().PlaceHolder("DIR").
		StringVar(&o.Dir)
	c.Flag("netns", "Network namespace in which flows leave the machine: a path, or a name below /run/netns. "+
		"Default: this one.").PlaceHolder("PATH").StringVar(&o.Netns)
	c.Flag("duration", "Stop after this long. Default: on SIGINT or SIGTERM.").DurationVar(&o.Duration)
	complete := recordFlags(c, "", &o)
	c.Flag("translated", "Only flows whose source this machine translates.").BoolVar(&o.OnlyTranslated)
	c.Flag("poll-interval", "Time between two dumps of conntrack, at most 10s.").Default("5s").DurationVar(&o.Interval)
	return command{c, func(ctx context.Context, e *env, logger *slog.Logger) error {
		if err := complete(); err != nil {
			return err
		}
		o.Logger = logger
		r, err := record.Run(ctx, o)
		if err != nil {
			err = fmt.Errorf("record: %w", err)
		}
		if r.Files == 0 {
			return err
		}
		_, _ = fmt.Fprintf(e.stdout, "%s in %s, %d of them live at the stop\n",
			words.Counted(r.Rows, "flow", "flows"), words.Counted(r.Files, "file", "files"), r.Live)
		if r.Removed > 0 {
			_, _ = fmt.Fprintf(e.stdout, "%d older files made room\n", r.Removed)
		}
		if r.Overruns > 0 {
			_, _ = fmt.Fprintf(e.stdout, "the kernel dropped events %d times: flows may be missing\n", r.Overruns)
		}
		return err
	}}
}
