package backtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/snatwatch/snatwatch/internal/backtest/record"
)

// output is a file that is created with the first byte written to it: a run that is refused, or whose
// input cannot be read, leaves what is there as it is.
type output struct {
	path string
	file *os.File
}

// Write creates the file, or empties it, the first time.
func (o *output) Write(b []byte) (int, error) {
	if o.file == nil {
		// Not open to read as well: whoever reads a pipe may leave, and the run must see that.
		f, err := os.OpenFile(o.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return 0, err
		}
		o.file = f
	}
	return o.file.Write(b)
}

// Close closes the file, if there is one.
func (o *output) Close() error {
	if o.file == nil {
		return nil
	}
	return o.file.Close()
}

// checkOutputs refuses an output that is one of the inputs, or the other output, or that cannot be written: before
// anything was read, and without a change to it.
func (c *Command) checkOutputs() error {
	outputs := []struct{ flag, path string }{{"trace", c.Trace}, {"html", c.HTML}}
	for i, o := range outputs {
		if o.path == "" {
			continue
		}
		for _, in := range c.Files {
			for _, read := range []string{in, record.NamesOf(in)} {
				if sameFile(o.path, read) {
					return fmt.Errorf("%s %s: it would overwrite what is read, %s: name another file", o.flag, o.path, read)
				}
			}
		}
		for _, other := range outputs[:i] {
			if other.path != "" && sameFile(o.path, other.path) {
				return fmt.Errorf("%s %s: it is the file of %s, too: name another", o.flag, o.path, other.flag)
			}
		}
		if err := writable(o.path); err != nil {
			return fmt.Errorf("%s: %w", o.flag, err)
		}
	}
	return nil
}

// sameFile reports whether a and b are one file, or would be once created.
func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	absX, failedX := filepath.Abs(a)
	absY, failedY := filepath.Abs(b)
	return errX != nil && errY != nil && failedX == nil && failedY == nil && absX == absY
}

// writable says why path cannot be written, as far as that is known before it is.
func writable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		_, err = os.Stat(filepath.Dir(path))
		return err
	case err != nil:
		return err
	case !info.Mode().IsRegular() && !info.IsDir():
		return nil // whoever reads a pipe would see it open and close
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
