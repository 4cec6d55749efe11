package backtest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

// Bar draws how much is done on one line of a terminal.
type Bar struct {
	mu    sync.Mutex
	w     io.Writer
	what  string
	shown int
}

// NewBar draws on w; a nil w draws nothing.
func NewBar(w io.Writer) *Bar { return &Bar{w: w, shown: -1} }

// Start begins a new bar, for what.
func (b *Bar) Start(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.what, b.shown = what, -1
}

// Set draws the share that is done. Any number of goroutines may call it.
func (b *Bar) Set(share float64) {
	if b.w == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	const width = 40
	percent := int(100 * max(0, min(1, share)))
	if percent <= b.shown {
		return
	}
	b.shown = percent
	full := percent * width / 100
	_, _ = fmt.Fprintf(b.w, "\r%-10s [%s%s] %3d %%", b.what, strings.Repeat("=", full),
		strings.Repeat(" ", width-full), percent)
}

// Clear takes the bar away.
func (b *Bar) Clear() {
	if b.w != nil {
		_, _ = fmt.Fprint(b.w, "\r\x1b[K")
	}
}
