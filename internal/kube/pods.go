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
// is that of the mirror that stands for it.
const annotationHash = "kubernetes.io/config.hash"

// Pods names the pods of one node by UID.
type Pods struct {
	mu   sync.Mutex
	pods map[string]Pod       // nil until the server has told
	gone map[string]time.Time // when they went
	err  error
}

// Follow watches the pods of a node until ctx is cancelled.
func (p *Pods) Follow(ctx context.Context, c *Client, node string) error {
	return c.Watch(ctx, Objects{Path: "/api/v1/pods", FieldSelector: "spec.nodeName=" + node}, p)
}

// All returns the pods by UID, nil until the server has told, and why they may be out of date. The map is the caller's.
func (p *Pods) All() (map[string]Pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pods == nil {
		return nil, p.err
	}
	out := make(map[string]Pod, len(p.pods))
	for uid, pod := range p.pods {
		out[uid] = pod
	}
	return out, p.err
}

// uid returns the UID that the pod's cgroup carries.
func uid(m *Metadata) string {
	if hash := m.Annotations[annotationHash]; hash != "" {
		return hash
	}
	return m.UID
}

func newPod(m *Metadata) Pod {
	p := Pod{Name: m.Namespace + "/" + m.Name}
	for _, o := range m.Owners {
		if !o.Controller {
			continue
		}
		p.Workload, p.Kind = o.Name, o.Kind
		// A Deployment names its ReplicaSets after itself and the hash that it labels their pods with.
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
	p.pods = make(map[string]Pod, len(all))
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
	p.pods[uid(m)] = newPod(m)
	delete(p.gone, uid(m))
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
}

// Unread implements Watcher.
func (p *Pods) Unread(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}
