package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Pool is what is watched for a pool size: a file, or the API server's nodes by label selector. The zero value
// is nothing.
type Pool struct {
	File       string
	Kubernetes bool
	Selector   string
}

func (p Pool) String() string {
	switch {
	case p.Kubernetes && p.Selector != "":
		return "the API server's nodes of " + p.Selector
	case p.Kubernetes:
		return "the API server's nodes"
	}
	return p.File
}

// key is the key of a budget that names the pool.
func (p Pool) key() string {
	if p.Kubernetes {
		return "nodes_from"
	}
	return "nodes_file"
}

// value is what that key says.
func (p Pool) value() string {
	if p.Kubernetes {
		return string(NodesKubernetes)
	}
	return p.File
}

// want is what would be right there.
func (p Pool) want() string {
	if p.Kubernetes {
		return "an API server that lists the nodes"
	}
	return "a file that holds the pool size"
}

// PoolSource returns what is watched for the budget's pool size.
func (b *Budget) PoolSource() Pool {
	if b.NodesFrom == NodesKubernetes {
		return Pool{Kubernetes: true, Selector: b.NodesSelector}
	}
	return Pool{File: b.NodesFile}
}

// Pools returns what is to be watched for pool sizes, each once.
func (c *Config) Pools() []Pool {
	pools := map[Pool]bool{}
	for i := range c.Budgets {
		if p := c.Budgets[i].PoolSource(); p != (Pool{}) {
			pools[p] = true
		}
	}
	return slices.SortedFunc(maps.Keys(pools), func(a, b Pool) int { return strings.Compare(a.String(), b.String()) })
}

// CountNodes returns how many nodes a label selector selects, or why nobody knows.
type CountNodes func(ctx context.Context, selector string) (int, error)

// errNoAPI is why nodes are not counted where nobody counts them.
var errNoAPI = errors.New("no API server: this is no pod with a service account")

// Size reads a pool size; count asks the API server, and nil is nobody to ask.
func (p Pool) Size(ctx context.Context, count CountNodes) (int, error) {
	if !p.Kubernetes {
		return ReadNodes(p.File)
	}
	if count == nil {
		return 0, errNoAPI
	}
	n, err := count(ctx, p.Selector)
	if err == nil && n == 0 {
		err = fmt.Errorf("%v are none", p)
	}
	return n, err
}

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
	if err := regular(file); err != nil {
		return 0, err
	}
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

// regular returns an error unless path is a regular file: a pipe makes its reader wait for ever, and a
// device would be lost to the file that is renamed over it.
func regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	return err
}
