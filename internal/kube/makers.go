package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// maker is a ReplicaSet or a Job that made a pod: a Deployment, a CronJob or another controller may have made it in
// turn, which its own metadata tells.
type maker struct{ path, uid, kind, name string }

// newMaker returns what o, in a namespace, is as a maker; zero where o is the workload itself, as a StatefulSet is.
func newMaker(namespace string, o Owner) maker {
	for _, m := range []struct{ apiVersion, kind, resource string }{
		{"apps/v1", "ReplicaSet", "replicasets"},
		{"batch/v1", "Job", "jobs"},
	} {
		if o.APIVersion == m.apiVersion && o.Kind == m.kind {
			path := fmt.Sprintf("/apis/%s/namespaces/%s/%s/%s", m.apiVersion, namespace, m.resource, o.Name)
			return maker{path, o.UID, o.Kind, o.Name}
		}
	}
	return maker{}
}

// makers knows who made the makers. Each is asked for once, which takes the right to get it.
type makers struct {
	mu    sync.Mutex
	made  map[maker]Owner // the maker itself where nobody made it; zero where it is no more
	todo  map[maker]bool
	added chan struct{} // holds a value once there is something to do
}

// askAgain is how long a question waits that the server did not answer, or refused.
const askAgain = 5 * time.Minute

// of returns who made m, if that is known.
func (k *makers) of(m maker) (Owner, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := k.made[m]
	return o, o.Name != ""
}

// want has m asked for, unless it is known.
func (k *makers) want(m maker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, known := k.made[m]; known || m == (maker{}) {
		return
	}
	if k.todo == nil {
		k.made, k.todo = map[maker]Owner{}, map[maker]bool{}
	}
	k.todo[m] = true
	select {
	case k.wake() <- struct{}{}:
	default:
	}
}

// wake returns the channel; the caller holds the lock.
func (k *makers) wake() chan struct{} {
	if k.added == nil {
		k.added = make(chan struct{}, 1)
	}
	return k.added
}

// keep forgets all but those that are used.
func (k *makers) keep(used map[maker]bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for m := range k.made {
		if !used[m] {
			delete(k.made, m)
		}
	}
	for m := range k.todo {
		if !used[m] {
			delete(k.todo, m)
		}
	}
}

// wanted returns those to ask for.
func (k *makers) wanted() (out []maker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for m := range k.todo {
		out = append(out, m)
	}
	return out
}

// madeBy notes who made m.
func (k *makers) madeBy(m maker, o Owner) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.todo[m] { // else it is no longer used
		delete(k.todo, m)
		k.made[m] = o
	}
}

// follow asks for what is wanted until ctx is cancelled.
func (k *makers) follow(ctx context.Context, c *Client) {
	k.mu.Lock()
	added := k.wake()
	k.mu.Unlock()
	wait := retryFirst
	for {
		switch failed, denied := k.ask(ctx, c); {
		case !failed:
			wait = retryFirst
			select {
			case <-ctx.Done():
				return
			case <-added:
			}
			continue
		case denied:
			wait = askAgain
		}
		if pause(ctx, wait/2+rand.N(wait)) != nil {
			return
		}
		wait = min(2*wait, askAgain)
	}
}

// ask asks for each that is wanted. It reports whether a question got no answer, and whether one was refused: then it
// asks for no more of that kind.
func (k *makers) ask(ctx context.Context, c *Client) (failed, denied bool) {
	unasked := map[string]bool{}
	for _, m := range k.wanted() {
		if unasked[m.kind] {
			continue
		}
		o, err := c.makerOf(ctx, m)
		switch {
		case err == nil:
			k.madeBy(m, o)
			continue
		case refused(err):
			denied = true
		}
		failed, unasked[m.kind] = true, true
	}
	return failed, denied
}

// makerOf asks who made m: m itself where nobody did, zero where m is no more.
func (c *Client) makerOf(ctx context.Context, m maker) (Owner, error) {
	body, err := c.get(ctx, m.path, metadata, nil)
	if missing(err) {
		return Owner{}, nil
	}
	if err != nil {
		return Owner{}, err
	}
	defer func() { _ = body.Close() }()
	var object struct {
		Metadata Metadata `json:"metadata"`
	}
	if err := json.NewDecoder(io.LimitReader(body, objectMax)).Decode(&object); err != nil {
		return Owner{}, fmt.Errorf("get %s: %w", m.path, err)
	}
	if object.Metadata.UID != m.uid { // another of the same name, made later
		return Owner{}, nil
	}
	if o, made := controller(&object.Metadata); made {
		return o, nil
	}
	return Owner{Kind: m.kind, Name: m.name}, nil
}
