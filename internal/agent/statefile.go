package agent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// saveEvery is how often the state file is written.
const saveEvery = time.Minute

// learned is what the ledgers' forecasts learned: the length of the first, the first, the
// second, which is empty without a local budget.
func (l *loop) learned() []byte {
	b := l.nat.AppendState(make([]byte, 8))
	binary.LittleEndian.PutUint64(b, uint64(len(b)-8))
	if l.local != nil {
		b = l.local.AppendState(b)
	}
	return b
}

// restore takes in what learned gave; it is called before run. A part that cannot be used
// leaves its ledger as it was.
func (l *loop) restore(b []byte, now collector.Time) error {
	if len(b) < 8 {
		return errors.New("cut off")
	}
	n := binary.LittleEndian.Uint64(b)
	if b = b[8:]; n > uint64(len(b)) {
		return errors.New("cut off")
	}
	err := l.nat.Restore(b[:n], now)
	if b = b[n:]; l.local != nil && len(b) > 0 {
		err = errors.Join(err, l.local.Restore(b, now))
	}
	return err
}

// loadState restores the state file. One that is not there is no mistake; one that cannot be used
// means that the forecast learns anew, and is said.
func (a *agent) loadState(path string) {
	if path == "" {
		return
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil {
		err = a.loop.restore(b, a.now())
	}
	if err != nil {
		a.logger.Warn("state file not used: the forecast learns anew", "file", path, "err", err)
		return
	}
	a.logger.Info("state restored", "file", path)
}

// keepState writes the state file until ctx is cancelled, and once more when loopEnded tells
// that the ledgers are nobody's.
func (a *agent) keepState(ctx context.Context, path string, loopEnded <-chan struct{}) error {
	if path == "" {
		return nil
	}
	cancelled := every(ctx, saveEvery, func() error {
		b, err := a.loop.state(ctx)
		if err == nil { // else cancelled
			a.saveState(path, b)
		}
		return nil
	})
	<-loopEnded
	a.saveState(path, a.loop.learned())
	return cancelled
}

func (a *agent) saveState(path string, b []byte) {
	text := ""
	if err := writeAtomically(path, b); err != nil {
		text = fmt.Sprintf("the state file is not written, so a restart learns anew: %v", err)
	}
	a.notices.set("state", text)
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

// writeAtomically leaves the file as it was or as b has it, also when the machine stops. A write that
// was killed leaves path.new behind, which the next one takes over.
func writeAtomically(path string, b []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
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
