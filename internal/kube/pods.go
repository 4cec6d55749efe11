package kube

import (
	"context"
	"strings"
	"sync"
	"time"
)

// Pod is what is kept of a pod.
type Pod struct {
	// Name is namespace/name.
	Name string
	// Workload is what made the pod, and Kind what that is: a Deployment where a ReplicaSet of one did. Empty for a
	// pod that nothing made.
	Workload, Kind string
}

// goneFor is how long a pod is remembered after it is gone: its ports cool down for minutes.
const goneFor = 15 * time.Minute

// annotationHash is the annotation of a static pod with the UID under which the kubelet runs it. The object's own UID
// is the UID of the mirror that stands for it.
const annotationHash = "kubernetes.io/config.hash"

// Pods names the pods of one node by UID.
type Pods struct {
	mu    sync.Mutex
	pods  map[string]pod       // nil until the server has answered
	gone  map[string]time.Time // when they went
	err   error
	since time.Time // of err

	makers makers
}

// pod is what is kept of a pod, and what made it.
type pod struct {
	Pod
	maker maker // zero where nothing made it, or where what made it is the workload
}

// Follow watches the pods of a node until ctx is cancelled.
func (p *Pods) Follow(ctx context.Context, c *Client, node string) error {
	ctx, cancel := context.WithCancel(ctx)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		p.makers.follow(ctx, c)
	}()
	err := c.Watch(ctx, Objects{Path: "/api/v1/pods", FieldSelector: "spec.nodeName=" + node}, p)
	cancel()
	<-asked
	return err
}

// All returns the pods by UID, nil until the server has answered, and why they may be out of date. The map is the
// caller's.
func (p *Pods) All() (map[string]Pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pods == nil {
		return nil, p.err
	}
	out := make(map[string]Pod, len(p.pods))
	for uid, pod := range p.pods {
		if w, ok := p.makers.of(pod.maker); ok {
			pod.Workload, pod.Kind = w.Name, w.Kind
		}
		out[uid] = pod.Pod
	}
	return out, p.err
}

// Silent returns since when the server does not answer, zero while it does.
func (p *Pods) Silent() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		return time.Time{}
	}
	return p.since
}

// uid returns the UID that the pod's cgroup carries.
func uid(m *Metadata) string {
	if hash := m.Annotations[annotationHash]; hash != "" {
		return hash
	}
	return m.UID
}

func newPod(m *Metadata) pod {
	p := pod{Pod: Pod{Name: m.Namespace + "/" + m.Name}}
	if o, ok := controller(m); ok {
		p.Workload, p.Kind, p.maker = o.Name, o.Kind, newMaker(m.Namespace, o)
		// A Deployment names its ReplicaSets after itself and the hash that it labels their pods with: so much is known
		// without the right to read the ReplicaSet.
		if hash := m.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			if name, ok := strings.CutSuffix(o.Name, "-"+hash); ok {
				p.Workload, p.Kind = name, "Deployment"
			}
		}
	}
	return p
}

// Replace implements Watcher.
func (p *Pods) Replace(all []Metadata) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.pods
	p.pods = make(map[string]pod, len(all))
	for i := range all {
		p.put(&all[i])
	}
	for uid, pod := range before {
		if _, there := p.pods[uid]; !there {
			p.pods[uid] = pod
			p.went(uid, now)
		}
	}
	p.forget(now)
}

// Put implements Watcher.
func (p *Pods) Put(m Metadata) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.put(&m)
}

func (p *Pods) put(m *Metadata) {
	pod := newPod(m)
	p.pods[uid(m)] = pod
	delete(p.gone, uid(m))
	p.makers.want(pod.maker)
}

// Delete implements Watcher.
func (p *Pods) Delete(m Metadata) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.went(uid(&m), now)
	p.forget(now)
}

func (p *Pods) went(uid string, now time.Time) {
	if p.gone == nil {
		p.gone = map[string]time.Time{}
	}
	if _, known := p.gone[uid]; !known {
		p.gone[uid] = now
	}
}

func (p *Pods) forget(now time.Time) {
	for uid, since := range p.gone {
		if now.Sub(since) > goneFor {
			delete(p.gone, uid)
			delete(p.pods, uid)
		}
	}
	used := make(map[maker]bool, len(p.pods))
	for _, pod := range p.pods {
		used[pod.maker] = true
	}
	p.makers.keep(used)
}

// Unread implements Watcher.
func (p *Pods) Unread(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.since = time.Now()
	}
	p.err = err
}
