package backtest

import (
	"strings"
	"testing"
)

func TestBar(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	bar := NewBar(&b)
	bar.Start("reading")
	bar.Set(0.5)
	bar.Set(0.501) // the same per cent is not drawn again
	bar.Set(0.4)   // nor does it go back
	bar.Set(2)
	bar.Clear()
	half := "[" + strings.Repeat("=", 20) + strings.Repeat(" ", 20) + "]"
	want := "\rreading    " + half + "  50 %\rreading    [" + strings.Repeat("=", 40) + "] 100 %\r\x1b[K"
	if got := b.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	NewBar(nil).Set(1) // draws nothing
}
