package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseNodes(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"40", " 40\n", "40\r\n", "0040"} {
		if got, err := ParseNodes([]byte(text)); got != 40 || err != nil {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "0", "-1", "4 0", "forty", "1e3", "0x10", "99999999999999999999", strings.Repeat("9", 4096)} {
		if got, err := ParseNodes([]byte(text)); got != 0 || err == nil || len(err.Error()) > 200 {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}

func FuzzParseNodes(f *testing.F) {
	f.Add([]byte("40\n"))
	f.Add([]byte("0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := ParseNodes(b); (n > 0) != (err == nil) || n < 0 {
			t.Errorf("%q: %d, %v", b, n, err)
		}
	})
}

// A pool that grows, reaches what the model refuses, disappears and comes back.
func TestNodesWatcher(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "nodes")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("40\n")
	synctest.Test(t, func(t *testing.T) {
		var applied []int
		w := &NodesWatcher{
			Files: []string{file}, Nodes: map[string]int{file: 40},
			Apply: func(nodes map[string]int) error {
				if nodes[file] > 1000 {
					return fmt.Errorf("%d nodes, want 1 to 1000", nodes[file])
				}
				applied = append(applied, nodes[file])
				return nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		steps := []struct {
			text, rejected string
			applied        []int
		}{
			{"40\n", "", nil},
			{"51", "", []int{51}},
			{"1001", "1001 nodes, want 1 to 1000", []int{51}},
			{"many", `want the number of nodes, 1 or more`, []int{51}},
			{"0", `"0", want the number of nodes, 1 or more`, []int{51}},
			{"51", "", []int{51}},
			{"52", "", []int{51, 52}},
		}
		for _, s := range steps {
			write(s.text)
			time.Sleep(10*time.Second + time.Millisecond)
			synctest.Wait()
			if diff := cmp.Diff(s.applied, applied); diff != "" {
				t.Errorf("after %q: applied (-want +got):\n%s", s.text, diff)
			}
			err := w.Rejected(file)
			if (err == nil) != (s.rejected == "") || err != nil && !strings.HasSuffix(err.Error(), s.rejected) {
				t.Errorf("after %q: rejected %v, want %q", s.text, err, s.rejected)
			}
			if got := len(w.RejectedFiles()); (got == 1) != (s.rejected != "") {
				t.Errorf("after %q: %d files rejected", s.text, got)
			}
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := w.Rejected(file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without a file: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}
