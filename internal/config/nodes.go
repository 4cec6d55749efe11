package config

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ParseNodes reads a pool size: one whole number above 0, white space around it.
func ParseNodes(data []byte) (int, error) {
	text := strings.TrimSpace(string(data))
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%.32q, want the number of nodes, 1 or more", text)
	}
	return n, nil
}

// ReadNodes reads a pool size from a file.
func ReadNodes(file string) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	n, err := ParseNodes(data)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// NodesWatcher follows pool sizes in files. A size that cannot be read, or that Apply
// refuses, leaves the last good one in place and is told by Rejected.
type NodesWatcher struct {
	// Files to read; see Config.NodesFiles.
	Files []string
	// Interval between two looks, default 10 s.
	Interval time.Duration
	// Nodes are the sizes in use at the start, by file.
	Nodes map[string]int
	// Apply puts all sizes in use, after one of them changed.
	Apply func(nodes map[string]int) error

	mu       sync.Mutex
	rejected map[string]error
}

// Run looks until ctx ends, and returns nil then.
func (w *NodesWatcher) Run(ctx context.Context) error {
	interval := w.Interval
	if interval <= 0 {
		interval = 10 * time.Second
	}
	used := maps.Clone(w.Nodes)
	if used == nil {
		used = map[string]int{}
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		for _, file := range w.Files {
			w.look(file, used)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look reads one file and puts its size in use if it is another. A size that was
// refused is offered again at every look: what Apply refuses may change.
func (w *NodesWatcher) look(file string, used map[string]int) {
	n, err := ReadNodes(file)
	if err == nil && n != used[file] {
		next := maps.Clone(used)
		next[file] = n
		if err = w.Apply(maps.Clone(next)); err == nil {
			maps.Copy(used, next)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		delete(w.rejected, file)
		return
	}
	if w.rejected == nil {
		w.rejected = map[string]error{}
	}
	w.rejected[file] = err
}

// Rejected returns why a file's size is not in use, nil where it is.
func (w *NodesWatcher) Rejected(file string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rejected[file]
}

// RejectedFiles returns the files whose size is not in use.
func (w *NodesWatcher) RejectedFiles() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.rejected))
}
