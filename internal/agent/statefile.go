package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
)

// saveEvery is how often the state file is written.
const saveEvery = time.Minute

// learned returns what the ledgers' forecasts have learned.
func (l *loop) learned() []byte { return l.frame(nil, (*ledger.Ledger).AppendState) }

// handover appends to what learned returned what the agent needs that starts next, to go on counting.
func (l *loop) handover(b []byte) []byte { return l.frame(b, (*ledger.Ledger).AppendHandover) }

// frame appends a part of each ledger: the length of each stage's part, then the parts. One is empty where the stage
// has no ledger.
func (l *loop) frame(b []byte, part func(*ledger.Ledger, []byte) []byte) []byte {
	first := len(b)
	b = append(b, make([]byte, stateHeader)...)
	for stage, of := range l.ledgers {
		if before := len(b); of != nil {
			b = part(of, b)
			binary.LittleEndian.PutUint64(b[first+8*stage:], uint64(len(b)-before))
		}
	}
	return b
}

// stateHeader is the length of the lengths.
const stateHeader = 8 * int(budget.NumStages)

// restore gives the ledgers what learned returned, and handover if that is there; call it before run. A part that
// cannot be used leaves its ledger as it was.
func (l *loop) restore(b []byte, now collector.Time) error {
	rest, err := l.unframe(b, func(of *ledger.Ledger, part []byte) error { return of.Restore(part, now) })
	if err != nil || len(rest) == 0 {
		return err
	}
	rest, err = l.unframe(rest, func(of *ledger.Ledger, part []byte) error { return of.TakeOver(part, now) })
	if err == nil && len(rest) > 0 {
		err = errors.New("longer than it says")
	}
	return err
}

// learnedOf returns the part of restore's bytes that learned made.
func learnedOf(b []byte) []byte {
	if len(b) < stateHeader {
		return b
	}
	n := uint64(stateHeader)
	for stage := range budget.NumStages {
		n += min(binary.LittleEndian.Uint64(b[8*stage:]), stateMax)
	}
	return b[:min(n, uint64(len(b)))]
}

// unframe hands the parts that frame appended to the ledgers, and returns what follows them.
func (l *loop) unframe(b []byte, take func(*ledger.Ledger, []byte) error) (rest []byte, err error) {
	if len(b) < stateHeader {
		return nil, errors.New("cut off")
	}
	header, rest := b[:stateHeader], b[stateHeader:]
	var errs []error
	for stage, of := range l.ledgers {
		n := binary.LittleEndian.Uint64(header[8*stage:])
		if n > uint64(len(rest)) {
			return nil, errors.Join(append(errs, errors.New("cut off"))...)
		}
		part := rest[:n]
		rest = rest[n:]
		if n == 0 {
			continue
		}
		if of == nil { // the config has no budget of the stage any more, but the part must still be whole
			of = ledger.New(ledger.Config{})
		}
		errs = append(errs, take(of, part))
	}
	return rest, errors.Join(errs...)
}

// stateFile keeps what the loop learned over a restart.
type stateFile struct {
	*base
	path string // empty: nothing is kept
	loop *loop
}

// load restores the state. A missing file is no mistake. If the file cannot be used, the log says so and the forecast
// learns anew.
func (f *stateFile) load() {
	if f.path == "" {
		return
	}
	b, err := readState(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	// A handover is used once, or the counts would go back after an agent that was killed. If it cannot be taken out of
	// the file, the counts start anew.
	if learned := learnedOf(b); len(learned) < len(b) && !f.save(learned) {
		b = learned
	}
	if err == nil {
		err = f.loop.restore(b, f.now())
	}
	if err != nil {
		f.logger.Warn("state file not used: the forecast learns anew", "file", f.path, "err", err)
		return
	}
	f.logger.Info("state restored", "file", f.path)
}

// keep writes the file every minute until ctx is cancelled, and once more when loopEnded is closed: then the loop
// does not use the ledgers any more.
func (f *stateFile) keep(ctx context.Context, loopEnded <-chan struct{}) error {
	if f.path == "" {
		return nil
	}
	cancelled := every(ctx, saveEvery, func() error {
		b, err := f.loop.state(ctx)
		if err == nil { // else cancelled
			f.save(b)
		}
		return nil
	})
	<-loopEnded
	b := f.loop.learned()
	if whole := f.loop.handover(b); len(whole) <= stateMax { // else the counts start anew
		b = whole
	}
	f.save(b)
	return cancelled
}

// save reports whether the file has b now; else a notice says why not.
func (f *stateFile) save(b []byte) bool {
	text := ""
	err := writeAtomically(f.path, b)
	if err != nil {
		text = fmt.Sprintf("the state file is not written, so a restart learns anew: %v", err)
	}
	f.notices.set("state", text)
	return err == nil
}

// state asks the running loop for what it learned.
func (l *loop) state(ctx context.Context) ([]byte, error) {
	answer := make(chan []byte, 1)
	select {
	case l.states <- answer:
		return <-answer, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// stateMax bounds the state file, in bytes: a port space takes 12 KB, and 1,000 are forecast by default. A handover
// takes 18 bytes for each flow, of a million at most in each stage.
const stateMax = 64 << 20

// readState returns the content of the state file. What is no regular file is not read: a FIFO
// would block the agent, a device would never end.
func readState(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: want a regular file, found %v", path, info.Mode().Type())
	case info.Size() > stateMax:
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", path, info.Size(), stateMax)
	}
	return io.ReadAll(io.LimitReader(f, stateMax))
}

// writeAtomically leaves the file as it was or as b has it, also when the machine stops.
func writeAtomically(path string, b []byte) (err error) {
	if len(b) > stateMax {
		return fmt.Errorf("%s: %d bytes, want at most %d", path, len(b), stateMax)
	}
	f, err := createNew(path + ".new")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// createNew creates the file at path. It takes the place of a regular file, which a write that was killed left
// behind, and of nothing else: a symbolic link would lead the write elsewhere, a FIFO would block it.
func createNew(path string) (*os.File, error) {
	create := func() (*os.File, error) { return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) }
	f, err := create()
	if !errors.Is(err, fs.ErrExist) {
		return f, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: want no file or a regular one, found %v: remove it", path, info.Mode().Type())
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return create()
}
