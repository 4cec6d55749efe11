// Package record writes what the agent sees: a row for each flow that ended, as compressed CSV, bounded in size. A
// backtest reads it.
package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/config"
)

// Options say what to record, and where to.
type Options struct {
	// Dir is where the files go. It is made if it is not there.
	Dir string
	// Netns is the namespace in which flows leave the machine, by name or path; empty is the process's own.
	Netns string
	// Duration is how long to record; 0 means until the context ends.
	Duration time.Duration
	// Rotate is the age at which a file ends and the next begins; default an hour.
	Rotate time.Duration
	// MaxBytes bounds all files of Dir together; default 256 MiB, at least 1 MiB. The oldest files go first.
	MaxBytes int64
	// Anonymise replaces addresses by others: the same address by the same one, under a key that nobody keeps.
	Anonymise bool
	// OnlyTranslated leaves out flows whose source this machine does not translate.
	OnlyTranslated bool
	// Strategy and Interval are as in conntrack.Config. Ends matter to a record, so Auto polls.
	Strategy conntrack.Strategy
	Interval time.Duration
	Logger   *slog.Logger
}

const (
	rotateDefault   = time.Hour
	maxBytesDefault = 256 << 20
	maxBytesLeast   = 1 << 20
	// lastLook is how long the dump at the stop may take.
	lastLook = 10 * time.Second
)

// check refuses what makes no sense, and sets defaults.
func (o *Options) check() error {
	if o.Rotate == 0 {
		o.Rotate = rotateDefault
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = maxBytesDefault
	}
	switch {
	case o.Dir == "":
		return errors.New("name a directory for the files")
	case o.Rotate < time.Second:
		return fmt.Errorf("rotate %v: want at least 1s", o.Rotate)
	case o.MaxBytes < maxBytesLeast:
		return fmt.Errorf("max-bytes %d: want at least %d", o.MaxBytes, maxBytesLeast)
	case o.Duration < 0:
		return fmt.Errorf("duration %v: want more than 0, or none", o.Duration)
	}
	return nil
}

// Result is what a recording wrote.
type Result struct {
	// Rows counts flows, Live the ones among them that had not ended at the stop.
	Rows, Live int
	// Files counts the files that were begun, Removed those that made room.
	Files, Removed int
	// Overruns is how often the kernel dropped events. Flows may lack a row since.
	Overruns int
}

// Run records until ctx ends or the duration is over, which is no error.
func Run(ctx context.Context, o Options) (Result, error) {
	outer, err := config.OpenNetns(o.Netns)
	if err != nil {
		return Result{}, err
	}
	defer func() { _ = outer.Close() }()
	foreign := outer
	if own, err := netns.Own(); err == nil && own == outer.Inode() {
		foreign = nil // entering a namespace takes CAP_SYS_ADMIN
	}
	now := collector.Clock()
	r, err := Open(&o, outer)
	if err != nil {
		return Result{}, err
	}
	src, err := conntrack.New(conntrack.Config{
		Netns: foreign, OnlyTranslated: o.OnlyTranslated, Strategy: o.Strategy, Interval: o.Interval, Clock: now,
		EndsMatter: func() bool { return true },
	})
	if err == nil {
		err = follow(ctx, src, r, o.Duration)
	}
	result, closed := r.Close(now())
	return result, errors.Join(err, closed)
}

// Recorder writes the flows of one source.
type Recorder struct{ table *table }

// Open begins a record of the flows that leave the machine in outer. Of o it takes what a source does not need.
func Open(o *Options, outer *netns.Handle) (*Recorder, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	var key *anonymiser
	if o.Anonymise {
		var err error
		if key, err = newAnonymiser(); err != nil {
			return nil, err
		}
	}
	known, err := limits.Of(outer)
	if err != nil {
		o.Logger.Debug("limits not all read", "err", err)
	}
	f, err := openFiles(o.Dir, o.Rotate, o.MaxBytes, header(&known, o.OnlyTranslated, o.Anonymise))
	if err != nil {
		return nil, err
	}
	return &Recorder{newTable(f, key)}, nil
}

// Take is a collector.Sink. One goroutine uses a recorder.
func (r *Recorder) Take(ctx context.Context, events []collector.Event) error {
	return r.table.take(ctx, events)
}

// Close writes the flows that are still live and ends the last file.
func (r *Recorder) Close(now collector.Time) (Result, error) {
	t := r.table
	t.finish(now)
	err := t.files.close(now)
	return Result{Rows: t.rows, Live: t.live, Files: t.files.begun, Removed: t.files.removed, Overruns: t.overruns}, err
}

// follow hands r what src emits until ctx ends or d is over, and then one last dump.
func follow(ctx context.Context, src *conntrack.Source, r *Recorder, d time.Duration) error {
	stopped := ctx
	if d > 0 {
		var cancel context.CancelFunc
		stopped, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	if err := src.Run(stopped, r.Take); stopped.Err() == nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	return src.Dump(last, r.Take)
}
