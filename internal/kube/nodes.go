package kube

import (
	"context"
	"sync"
	"time"
)

// answerWithin is how long a count waits for a server where no watch has counted yet.
const answerWithin = 5 * time.Second

// Nodes counts the nodes of a cluster by label selector: from a watch where one was started, else by a list.
type Nodes struct {
	connect func() (*Client, error)

	mu      sync.Mutex
	client  *Client
	watched map[string]*count
}

// NewNodes returns a counter that asks the client which connect returns. It asks nothing by itself.
func NewNodes(connect func() (*Client, error)) *Nodes {
	return &Nodes{connect: connect, watched: map[string]*count{}}
}

func (n *Nodes) connected() (*Client, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.client != nil {
		return n.client, nil
	}
	client, err := n.connect()
	n.client = client
	return client, err
}

func nodes(selector string) Objects { return Objects{Path: "/api/v1/nodes", LabelSelector: selector} }

// Follow watches the nodes of a label selector until ctx is cancelled; empty is all nodes. Outside a cluster it
// waits for one.
func (n *Nodes) Follow(ctx context.Context, selector string) error {
	client, err := n.connected()
	for err != nil {
		if err := pause(ctx, retryLast); err != nil {
			return err
		}
		client, err = n.connected()
	}
	c := &count{}
	n.mu.Lock()
	n.watched[selector] = c
	n.mu.Unlock()
	return client.Watch(ctx, nodes(selector), c)
}

// Count returns how many nodes a selector has. Where the server does not answer, it returns why, and the number
// that the server gave last if there is one.
func (n *Nodes) Count(ctx context.Context, selector string) (int, error) {
	n.mu.Lock()
	c := n.watched[selector]
	n.mu.Unlock()
	if c != nil {
		if size, told, err := c.now(); told {
			return size, err
		}
	}
	client, err := n.connected()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	all, _, err := client.List(ctx, nodes(selector))
	return len(all), err
}

// count holds the nodes of one selector by name.
type count struct {
	mu    sync.Mutex
	names map[string]bool // nil until the server has answered
	err   error
}

// now returns the count, if the server has answered, and why it may be old.
func (c *count) now() (size int, told bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.names), c.names != nil, c.err
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
}
