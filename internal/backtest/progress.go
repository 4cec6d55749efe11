package backtest

import (
	"fmt"
	"io"
	"strings"
	"sync"
)

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
