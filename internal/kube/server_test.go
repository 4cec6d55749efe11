package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// apiServer starts etcd and an API server, and returns a client that may do anything and its server's address. Both
// programs are needed: etcd from Debian's etcd-server, kube-apiserver built from its module, named by KUBE_APISERVER.
func apiServer(t *testing.T) *Client {
	t.Helper()
	program := os.Getenv("KUBE_APISERVER")
	etcd, err := exec.LookPath("etcd")
	if program == "" || err != nil {
		t.Skip("no API server: KUBE_APISERVER names none, or etcd is not installed")
	}
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sa := write("sa.key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	tokens := write("tokens", []byte(`administrator,admin,1,"system:masters"`+"\n"))
	write("token", []byte("administrator"))
	store, peer, server := freePort(t), freePort(t), freePort(t)
	run := func(name string, args ...string) {
		cmd := exec.Command(name, args...)
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("%s:\n%s", name, log.Bytes()[max(0, log.Len()-4000):])
			}
		})
	}
	at := func(scheme string, port int) string { return fmt.Sprintf("%s://127.0.0.1:%d", scheme, port) }
	run(etcd, "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--listen-client-urls", at("http", store), "--advertise-client-urls", at("http", store),
		"--listen-peer-urls", at("http", peer), "--initial-advertise-peer-urls", at("http", peer), "--initial-cluster", "default="+at("http", peer))
	run(program, "--etcd-servers="+at("http", store), "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", server),
		"--cert-dir="+dir, "--token-auth-file="+tokens, "--service-account-issuer=https://127.0.0.1", "--service-account-key-file="+sa,
		"--service-account-signing-key-file="+sa, "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC",
		"--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount")
	var c *Client
	eventually(t, "the API server is ready", func() bool {
		cert, err := os.ReadFile(filepath.Join(dir, "apiserver.crt")) // it signs its own
		if err != nil || os.WriteFile(filepath.Join(dir, "ca.crt"), cert, 0o600) != nil {
			return false
		}
		if c, err = New(at("https", server), dir); err != nil {
			return false
		}
		body, err := c.get(t.Context(), "/readyz", "*/*", nil)
		if err != nil {
			return false
		}
		_ = body.Close()
		return true
	})
	return c
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not within two minutes: " + what)
		}
	}
}

// send asks the server to change something.
func (c *Client) send(t *testing.T, method, path, object string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.server+path, bytes.NewReader([]byte(object)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer administrator")
	req.Header.Set("Content-Type", "application/yaml")
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode > 299 {
		t.Fatalf("%s %s: %v", method, path, readStatus(resp))
	}
}

// A real API server names the pods of one node, their Deployment, and static pods by the kubelet's own UID.
func TestPodsOfARealServer(t *testing.T) {
	c := apiServer(t)
	pod := func(name, node, more string) {
		t.Helper()
		c.send(t, http.MethodPost, "/api/v1/namespaces/default/pods", fmt.Sprintf(
			"{apiVersion: v1, kind: Pod, metadata: {name: %s, %s}, spec: {nodeName: %s, containers: [{name: api, image: x}]}}", name, more, node))
	}
	const deployed = `labels: {pod-template-hash: 7d9f}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: checkout-7d9f, uid: "5", controller: true}]`
	pod("checkout-7d9f-abcde", "n1", deployed)
	pod("elsewhere", "n2", "labels: {}")
	pod("etcd-n1", "n1", `annotations: {kubernetes.io/config.hash: 6f1c2b3a4d5e6f708192a3b4c5d6e7f8, kubernetes.io/config.mirror: 6f1c2b3a4d5e6f708192a3b4c5d6e7f8}`)
	var pods Pods
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- pods.Follow(ctx, c, "n1") }()
	names := func() map[string]Pod {
		all, _ := pods.All()
		out := map[string]Pod{}
		for uid, p := range all {
			if len(uid) != 32 && len(uid) != 36 {
				t.Errorf("a UID of %d digits", len(uid))
			}
			out[p.Name] = p
		}
		return out
	}
	want := map[string]Pod{
		"default/checkout-7d9f-abcde": {"default/checkout-7d9f-abcde", "checkout", "Deployment"},
		"default/etcd-n1":             {Name: "default/etcd-n1"},
	}
	eventually(t, "the pods of the node are listed", func() bool { return cmp.Equal(want, names()) })
	if all, _ := pods.All(); all["6f1c2b3a4d5e6f708192a3b4c5d6e7f8"].Name != "default/etcd-n1" {
		t.Errorf("the static pod is not under the kubelet's UID: %v", all)
	}
	pod("checkout-7d9f-fghij", "n1", deployed)
	want["default/checkout-7d9f-fghij"] = Pod{"default/checkout-7d9f-fghij", "checkout", "Deployment"}
	eventually(t, "a new pod is told", func() bool { return cmp.Equal(want, names()) })
	c.send(t, http.MethodDelete, "/api/v1/namespaces/default/pods/checkout-7d9f-abcde?gracePeriodSeconds=0", "")
	eventually(t, "a pod is gone", func() bool {
		pods.mu.Lock()
		defer pods.mu.Unlock()
		return len(pods.gone) == 1
	})
	if diff := cmp.Diff(want, names()); diff != "" {
		t.Errorf("a pod that is gone is forgotten (-want +got):\n%s", diff)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v, want that it was cancelled", err)
	}
}
