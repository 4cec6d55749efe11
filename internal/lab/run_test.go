package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKernelRun measures all that the command measures; without KERNEL_TESTS=require only
// what needs no half-minute of silence.
func TestKernelRun(t *testing.T) {
	t.Parallel()
	newLab(t, Topology{}).Close()
	chosen := []string{"one-vip", "two-vips", "spaces", "fill"}
	if os.Getenv("KERNEL_TESTS") == "require" {
		chosen = Steps()
	}
	var out bytes.Buffer
	if err := Run(t.Context(), &out, Options{Steps: chosen, JSON: true}); err != nil {
		t.Error(err)
	}
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	if err := r.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	t.Log(table.String())
	var names []string
	for _, s := range r.Steps {
		names = append(names, s.Name)
		if len(s.Rows) < 3 {
			t.Errorf("step %s has %d rows", s.Name, len(s.Rows))
		}
	}
	if !slices.Equal(names, chosen) {
		t.Errorf("steps %v, want %v", names, chosen)
	}
	for what, want := range map[string]float64{
		"node's sockets in ESTABLISHED":                      1024,
		"VIP's ports in the router's established entries":    1024,
		"range: node's sockets in ESTABLISHED":               1024,
		"numgen: node's sockets in ESTABLISHED":              2048,
		"ports in answered TCP entries to 203.0.113.11:3443": 1024,
		"ports in answered UDP entries to 203.0.113.10:3053": 1024,
		"answered entries in all, at the same time":          4096,
	} {
		if got := measured(&r, what); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
}

// measured is the number in the row that is called what, -1 if there is none.
func measured(r *Report, what string) float64 {
	for _, s := range r.Steps {
		for _, row := range s.Rows {
			if row.What == what {
				return row.Measured
			}
		}
	}
	return -1
}

// A run that is interrupted ends at once, and so does what watches it.
func TestKernelRunIsInterrupted(t *testing.T) {
	t.Parallel()
	newLab(t, Topology{}).Close()
	ctx, cancel := context.WithCancel(t.Context())
	type router struct {
		inode   uint64
		handles []unix.FileHandle
	}
	watched := make(chan router, 1)
	watch := func(ctx context.Context, l *Lab) error {
		watched <- router{l.Router().Netns(), namespaceHandles(t, []string{l.Router().Path()})}
		time.AfterFunc(time.Second, cancel)
		<-ctx.Done()
		return ctx.Err()
	}
	start := time.Now()
	var out bytes.Buffer
	err := Run(ctx, &out, Options{Steps: []string{"one-vip"}, Watch: watch})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("ended after %v, want soon after 1s", d)
	}
	r := <-watched
	if left := leftOf(t, []uint64{r.inode}, r.handles); left != "" {
		t.Errorf("the router: %s", left)
	}
}

func TestRunRefusesAnUnknownStep(t *testing.T) {
	t.Parallel()
	err := Run(t.Context(), &bytes.Buffer{}, Options{Steps: []string{"one-vip", "threevips"}})
	if err == nil || !strings.Contains(err.Error(), `no step "threevips"; there are one-vip, two-vips`) {
		t.Errorf("error %v, want one that names the step and those that exist", err)
	}
}
