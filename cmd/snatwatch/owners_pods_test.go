package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/kubetest"
)

// inPodsAccount puts the service account of s where a pod of node n1 has it.
func inPodsAccount(t *testing.T, s *kubetest.Server) {
	t.Helper()
	const folder = "/var/run/secrets/kubernetes.io/serviceaccount"
	if err := os.MkdirAll("/var/run", 0o755); err != nil {
		t.Fatal(err)
	}
	// The test has mounts of its own.
	if err := unix.Mount("tmpfs", "/var/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca.crt", "token"} {
		text, err := os.ReadFile(filepath.Join(s.Folder, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"KUBERNETES_SERVICE_HOST": s.Host, "KUBERNETES_SERVICE_PORT": s.Port, "NODE_NAME": "n1"} {
		t.Setenv(name, value)
	}
}

// Pods of a real API server hold ports: metrics, page and API name them and their workloads. While the server hangs or is
// gone, the numbers go on and the names stay, and the agent says since when it has had no answer. Once the server is
// back, new pods have names.
func TestKernelOwnersOfARealServer(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin, netns.SysPtrace)
	if !kerneltest.OwnProcesses(t) {
		return
	}
	s := kubetest.Start(t)
	inPodsAccount(t, s)
	l, to := holdingLab(t, 4, 2255)

	want := map[string]int{}
	nodes := 0
	// run opens flows from the cgroup of a pod; shown is how it is to be named.
	run := func(uid, shown string, flows int) {
		t.Helper()
		startProgram(t, l.Node(nodes), inCgroup(t, "kubepods", "pod"+uid, strings.Repeat(fmt.Sprintf("%02x", 0xa0+nodes), 32)),
			"verify", "--target", to.String(), fmt.Sprintf("--limit=%d", flows), "--hold=1h", "--ports=256")
		want[fmt.Sprintf("pod %s %s", shown, strings.Repeat(fmt.Sprintf("%02x", 0xa0+nodes), 6))] = flows
		nodes++
	}
	set := replicas(s)
	pod := func(name string) (uid string) {
		t.Helper()
		return s.Send(http.MethodPost, "/api/v1/namespaces/default/pods", fmt.Sprintf(`{apiVersion: v1, kind: Pod, spec: {nodeName: n1, containers: [{name: api, image: x}]},
metadata: {name: %s, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: checkout-7d9f, uid: %q, controller: true}]}}`, name, set))
	}
	run(pod("checkout-7d9f-a"), "default/checkout-7d9f-a", 40)
	a := routerAgent(t, l, "2000-2255")
	shown := func(what string) {
		t.Helper()
		a.within(3*time.Minute, what, func() bool {
			_, got := a.heldBy()
			return cmp.Equal(want, got)
		})
	}
	const info = `snat_owner_info{owner="default/checkout-7d9f-a",owner_kind="pod",workload="checkout",workload_kind="Deployment"}`
	shown("the pod has its name and its ports")
	a.within(3*time.Minute, "its workload is known", func() bool { return a.value(info) == 1 })
	silent := func() bool {
		_, page := a.get(http.MethodGet, "/")
		return strings.Contains(page, "the API server has not answered since 20")
	}
	if silent() {
		t.Error("a server that answers is said to be silent")
	}

	for i, away := range []struct {
		name       string
		begin, end func()
	}{{"hangs", s.Pause, s.Resume}, {"is gone", s.Kill, s.Restart}} {
		away.begin()
		a.within(3*time.Minute, "it is said that the server "+away.name, silent)
		unknown := fmt.Sprintf("0b6c7f5e-3f6e-4a0e-9d5c-1c2f3a4b5c6%d", i)
		run(unknown, unknown, 5+i)
		shown("while the server " + away.name + " a new pod is shown by its UID, the others by name")
		if v := a.value(info); v != 1 {
			t.Errorf("while the server %s the workload is %v", away.name, v)
		}
		away.end()
		a.within(3*time.Minute, "the server answers again", func() bool { return !silent() })
	}
	run(pod("checkout-7d9f-b"), "default/checkout-7d9f-b", 11)
	shown("a pod that is made then has its name")
}

// replicas makes a ReplicaSet that a Deployment made, and returns its UID.
func replicas(s *kubetest.Server) (uid string) {
	const path, spec = "/apis/apps/v1/namespaces/default/", "{selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, spec: {containers: [{name: api, image: x}]}}}"
	deployment := s.Send(http.MethodPost, path+"deployments", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: checkout}, spec: "+spec+"}")
	return s.Send(http.MethodPost, path+"replicasets", fmt.Sprintf("{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: checkout-7d9f, ownerReferences: "+
		"[{apiVersion: apps/v1, kind: Deployment, name: checkout, uid: %q, controller: true}]}, spec: %s}", deployment, spec))
}
