package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/internal/kubetest"
)

// clientOf returns a client of a real server, by one of its tokens.
func clientOf(t testing.TB, s *kubetest.Server, token string) *Client {
	t.Helper()
	c, err := New("https://"+s.Host+":"+s.Port, s.Folder)
	if err != nil {
		t.Fatal(err)
	}
	c.tokenFile = filepath.Join(s.Folder, token)
	return c
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within two minutes: " + what)
		}
	}
}

// makePod makes a pod on a node; more is of its metadata.
func makePod(s *kubetest.Server, name, node, more string) {
	s.Send(http.MethodPost, "/api/v1/namespaces/default/pods", fmt.Sprintf(
		"{apiVersion: v1, kind: Pod, metadata: {name: %s, %s}, spec: {nodeName: %s, containers: [{name: api, image: x}]}}", name, more, node))
}

// followed is a Follow under way.
type followed struct{ Pods }

func watchPods(t testing.TB, c *Client) *followed {
	t.Helper()
	f := &followed{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Follow(ctx, c, "n1") }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the watch ended with %v, want that it was cancelled", err)
		}
	})
	return f
}

func (f *followed) names(t *testing.T) map[string]Pod {
	t.Helper()
	all, _ := f.All()
	out := map[string]Pod{}
	for uid, p := range all {
		if len(uid) != 32 && len(uid) != 36 {
			t.Errorf("a UID of %d digits", len(uid))
		}
		out[p.Name] = p
	}
	return out
}

// A real API server names the pods of one node, their Deployment, and static pods by the kubelet's own UID.
func TestPodsOfARealServer(t *testing.T) {
	s := kubetest.Start(t)
	const deployed = `labels: {pod-template-hash: 7d9f}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: checkout-7d9f, uid: "5", controller: true}]`
	makePod(s, "checkout-7d9f-abcde", "n1", deployed)
	makePod(s, "elsewhere", "n2", "labels: {}")
	makePod(s, "etcd-n1", "n1", `annotations: {kubernetes.io/config.hash: 6f1c2b3a4d5e6f708192a3b4c5d6e7f8, kubernetes.io/config.mirror: 6f1c2b3a4d5e6f708192a3b4c5d6e7f8}`)
	pods := watchPods(t, clientOf(t, s, "token"))
	want := map[string]Pod{
		"default/checkout-7d9f-abcde": {"default/checkout-7d9f-abcde", "checkout", "Deployment"},
		"default/etcd-n1":             {Name: "default/etcd-n1"},
	}
	eventually(t, "the pods of the node are listed", func() bool { return cmp.Equal(want, pods.names(t)) })
	if all, _ := pods.All(); all["6f1c2b3a4d5e6f708192a3b4c5d6e7f8"].Name != "default/etcd-n1" {
		t.Errorf("the static pod is not under the kubelet's UID: %v", all)
	}
	makePod(s, "checkout-7d9f-fghij", "n1", deployed)
	want["default/checkout-7d9f-fghij"] = Pod{"default/checkout-7d9f-fghij", "checkout", "Deployment"}
	eventually(t, "a new pod is told", func() bool { return cmp.Equal(want, pods.names(t)) })
	s.Send(http.MethodDelete, "/api/v1/namespaces/default/pods/checkout-7d9f-abcde?gracePeriodSeconds=0", "")
	eventually(t, "a pod is gone", func() bool {
		pods.mu.Lock()
		defer pods.mu.Unlock()
		return len(pods.gone) == 1
	})
	if diff := cmp.Diff(want, pods.names(t)); diff != "" {
		t.Errorf("a pod that is gone is forgotten (-want +got):\n%s", diff)
	}
}

// What made a pod's maker is followed by owner references, which takes the right to get the maker; without it, names
// tell of Deployments alone.
func TestWorkloadsOfARealServer(t *testing.T) {
	s := kubetest.Start(t)
	create := func(path, kind, apiVersion, name, owner, spec string) string {
		t.Helper()
		return s.Send(http.MethodPost, "/apis/"+apiVersion+"/namespaces/default/"+path, fmt.Sprintf(
			"{apiVersion: %s, kind: %s, metadata: {name: %s, %s}, spec: %s}", apiVersion, kind, name, owner, spec))
	}
	by := func(apiVersion, kind, name, uid string) string {
		return fmt.Sprintf("ownerReferences: [{apiVersion: %s, kind: %s, name: %s, uid: %q, controller: true}]", apiVersion, kind, name, uid)
	}
	const template = "{metadata: {labels: {app: x}}, spec: {restartPolicy: %s, containers: [{name: api, image: x}]}}"
	const nobody = "labels: {}"
	always, never := fmt.Sprintf(template, "Always"), fmt.Sprintf(template, "Never")
	set := "{selector: {matchLabels: {app: x}}, template: " + always + "}"
	deployment := create("deployments", "Deployment", "apps/v1", "checkout", nobody, set)
	replicas := create("replicasets", "ReplicaSet", "apps/v1", "checkout-7d9f", by("apps/v1", "Deployment", "checkout", deployment), set)
	alone := create("replicasets", "ReplicaSet", "apps/v1", "orphan-7d9f", nobody, set)
	rollout := create("replicasets", "ReplicaSet", "apps/v1", "search-55c", by("argoproj.io/v1alpha1", "Rollout", "search", "77"), set)
	cron := create("cronjobs", "CronJob", "batch/v1", "report", nobody, `{schedule: "0 0 * * *", jobTemplate: {spec: {template: `+never+`}}}`)
	job := create("jobs", "Job", "batch/v1", "report-29000000", by("batch/v1", "CronJob", "report", cron), "{template: "+never+"}")
	const hash = "labels: {pod-template-hash: 7d9f}, "
	makePod(s, "checkout-7d9f-a", "n1", hash+by("apps/v1", "ReplicaSet", "checkout-7d9f", replicas))
	makePod(s, "orphan-7d9f-a", "n1", hash+by("apps/v1", "ReplicaSet", "orphan-7d9f", alone))
	makePod(s, "search-55c-a", "n1", by("apps/v1", "ReplicaSet", "search-55c", rollout))
	makePod(s, "report-29000000-a", "n1", by("batch/v1", "Job", "report-29000000", job))
	makePod(s, "vanished-7d9f-a", "n1", hash+by("apps/v1", "ReplicaSet", "vanished-7d9f", "88"))
	makePod(s, "db-0", "n1", by("apps/v1", "StatefulSet", "db", "99"))

	role := func(name, rules string) {
		t.Helper()
		s.Send(http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterroles", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: "+name+"}, rules: "+rules+"}")
		s.Send(http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: "+name+
			"}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "+name+"}, subjects: [{kind: User, name: reader}]}")
	}
	role("pods", `[{apiGroups: [""], resources: [pods], verbs: [list, watch]}]`)
	pod := func(name, workload, kind string) Pod { return Pod{"default/" + name, workload, kind} }
	table := func(pods ...Pod) map[string]Pod {
		out := map[string]Pod{}
		for _, p := range pods {
			out[p.Name] = p
		}
		return out
	}
	reader := watchPods(t, clientOf(t, s, "reader"))
	byName := table(pod("checkout-7d9f-a", "checkout", "Deployment"), pod("orphan-7d9f-a", "orphan", "Deployment"), pod("search-55c-a", "search-55c", "ReplicaSet"),
		pod("report-29000000-a", "report-29000000", "Job"), pod("vanished-7d9f-a", "vanished", "Deployment"), pod("db-0", "db", "StatefulSet"))
	eventually(t, "by the right to list pods, names tell", func() bool { return cmp.Equal(byName, reader.names(t)) })

	role("makers", `[{apiGroups: [apps], resources: [replicasets], verbs: [get]}, {apiGroups: [batch], resources: [jobs], verbs: [get]}]`)
	again := watchPods(t, clientOf(t, s, "reader"))
	byReference := table(pod("checkout-7d9f-a", "checkout", "Deployment"), pod("orphan-7d9f-a", "orphan-7d9f", "ReplicaSet"), pod("search-55c-a", "search", "Rollout"),
		pod("report-29000000-a", "report", "CronJob"), pod("vanished-7d9f-a", "vanished", "Deployment"), pod("db-0", "db", "StatefulSet"))
	eventually(t, "owner references are followed", func() bool { return cmp.Equal(byReference, again.names(t)) })
	again.mu.Lock()
	again.forget(time.Now())
	again.mu.Unlock()
	if n := len(again.makers.made); n != 5 {
		t.Errorf("%d makers are known, want 5", n)
	}
}

// A server that hangs and one that is gone leave the names that it told, and it is said since when; once it answers
// again, what changed meanwhile is told.
func TestARealServerThatIsAway(t *testing.T) {
	s := kubetest.Start(t)
	makePod(s, "before", "n1", "labels: {}")
	pods := watchPods(t, clientOf(t, s, "token"))
	names := func() int { return len(pods.names(t)) }
	eventually(t, "the pod is listed", func() bool { return names() == 1 && pods.Silent().IsZero() })
	for i, away := range []struct {
		name       string
		begin, end func()
	}{
		{"hangs", s.Pause, s.Resume},
		{"is gone", s.Kill, s.Restart},
	} {
		away.begin()
		eventually(t, "it is said that the server "+away.name, func() bool { return !pods.Silent().IsZero() })
		if n := names(); n != i+1 {
			t.Errorf("%d names while the server %s, want %d", n, away.name, i+1)
		}
		away.end()
		makePod(s, fmt.Sprintf("later-%d", i), "n1", "labels: {}")
		eventually(t, "the new pod is told", func() bool { return names() == i+2 && pods.Silent().IsZero() })
	}
}

// What the watch of a node's pods takes of memory: 110, as many as a kubelet runs by default, of 22 Deployments.
func BenchmarkPodsOfARealServer(b *testing.B) {
	s := kubetest.Start(b)
	for i := range 110 {
		makePod(s, fmt.Sprintf("service-%d-7d9f-%d", i%22, i), "n1", fmt.Sprintf(
			"labels: {pod-template-hash: 7d9f, app: service-%[1]d}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: service-%[1]d-7d9f, uid: '%[1]d', controller: true}]", i%22))
	}
	heap := func() (used uint64) {
		var m runtime.MemStats
		for range 3 {
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	c := clientOf(b, s, "token")
	before := heap()
	pods := watchPods(b, c)
	eventually(b, "the pods are listed, and what made them is known", func() bool {
		all, _ := pods.All()
		pods.makers.mu.Lock()
		defer pods.makers.mu.Unlock()
		return len(all) == 110 && len(pods.makers.todo) == 0
	})
	used := float64(heap()-before) / 1e3
	for b.Loop() {
		if all, err := pods.All(); len(all) != 110 || err != nil {
			b.Fatal(len(all), err)
		}
	}
	b.ReportMetric(used, "KB")
}
