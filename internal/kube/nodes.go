package kube

import (
	"context"
	"errors"
	"sync"
)

// Nodes counts the nodes of a cluster, by label selector, from a watch for each.
type Nodes struct {
	client *Client

	mu     sync.Mutex
	counts map[string]*count
}

// NewNodes returns a counter that asks client. It asks nothing until Follow.
func NewNodes(client *Client) *Nodes {
	return &Nodes{client: client, counts: map[string]*count{}}
}

// Follow watches the nodes of a label selector until ctx is cancelled; empty is all nodes.
func (n *Nodes) Follow(ctx context.Context, selector string) error {
	return n.client.Watch(ctx, Objects{Path: "/api/v1/nodes", LabelSelector: selector}, n.of(selector))
}

func (n *Nodes) of(selector string) *count {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := n.counts[selector]
	if c == nil {
		c = &count{first: make(chan struct{}), names: map[string]bool{}, err: errors.New("the API server has not answered yet")}
		n.counts[selector] = c
	}
	return c
}

// Wait waits for the first answer about a selector that is followed, good or bad, or until ctx is cancelled.
func (n *Nodes) Wait(ctx context.Context, selector string) {
	select {
	case <-n.of(selector).first:
	case <-ctx.Done():
	}
}

// Count returns how many nodes a selector had when they were last told, and why that may be old. It is 0 as
// long as nobody has told.
func (n *Nodes) Count(selector string) (int, error) {
	c := n.of(selector)
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.names), c.err
}

// count holds the nodes of one selector by name.
type count struct {
	first chan struct{}
	once  sync.Once

	mu    sync.Mutex
	names map[string]bool
	err   error
}

func (c *count) Replace(all []Metadata) {
	names := make(map[string]bool, len(all))
	for _, m := range all {
		names[m.Name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = names
}

func (c *count) Put(m Metadata) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[m.Name] = true
}

func (c *count) Delete(m Metadata) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, m.Name)
}

func (c *count) Unread(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.once.Do(func() { close(c.first) })
}
