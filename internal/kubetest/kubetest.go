// Package kubetest gives a test a real Kubernetes API server over a real etcd. etcd is Debian's etcd-server;
// kube-apiserver is built from its module and named by KUBE_APISERVER, as .ci/packages does. Without them the test
// skips.
package kubetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Server is an API server and its etcd, which end with the test.
type Server struct {
	// Host and Port are where it serves by TLS.
	Host, Port string
	// Folder holds ca.crt, and the tokens of two users as files: token, of one who may do anything, and reader, of one
	// who may do what the test grants to user "reader".
	Folder string

	t       testing.TB
	program string
	args    []string
	server  *exec.Cmd
	client  http.Client
}

// Start starts both, and returns once the server is ready.
func Start(t testing.TB) *Server {
	t.Helper()
	program := os.Getenv("KUBE_APISERVER")
	etcd, err := exec.LookPath("etcd")
	if program == "" || err != nil {
		t.Skip("no API server: KUBE_APISERVER names none, or etcd is not installed")
	}
	dir := t.TempDir()
	s := &Server{Host: "127.0.0.1", Port: freePort(t), Folder: dir, t: t, program: program}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	s.write("sa.key", string(pem.EncodeToMemory(&block)))
	s.write("tokens", `administrator,admin,1,"system:masters"`+"\nonlooker,reader,2\n")
	s.write("token", "administrator")
	s.write("reader", "onlooker")
	store, peer := freePort(t), freePort(t)
	at := func(port string) string { return "http://127.0.0.1:" + port }
	s.run(etcd, "--data-dir", filepath.Join(dir, "etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", at(store), "--advertise-client-urls", at(store), "--listen-peer-urls", at(peer),
		"--initial-advertise-peer-urls", at(peer), "--initial-cluster", "default="+at(peer))
	s.args = []string{
		"--etcd-servers=" + at(store), "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
		"--secure-port=" + s.Port, "--cert-dir=" + dir, "--token-auth-file=" + filepath.Join(dir, "tokens"),
		"--service-account-issuer=https://127.0.0.1",
		"--service-account-key-file=" + filepath.Join(dir, "sa.key"),
		"--service-account-signing-key-file=" + filepath.Join(dir, "sa.key"),
		"--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none",
		"--disable-admission-plugins=ServiceAccount",
	}
	s.Restart()
	return s
}

// Restart starts the server, which Kill ended, and returns once it is ready.
func (s *Server) Restart() {
	s.t.Helper()
	s.server = s.run(s.program, s.args...)
	s.eventually("the API server is ready", func() bool {
		cert, err := os.ReadFile(filepath.Join(s.Folder, "apiserver.crt")) // it signs its own
		if err != nil {
			return false
		}
		s.write("ca.crt", string(cert))
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(cert)
		s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
		_, err = s.send(http.MethodGet, "/readyz", "")
		return err == nil
	})
}

// Kill ends the server; what etcd has stays.
func (s *Server) Kill() {
	_ = s.server.Process.Kill()
	_ = s.server.Wait()
}

// Pause stops the server as it is: it takes connections and answers nothing. Resume lets it go on.
func (s *Server) Pause() { _ = s.server.Process.Signal(unix.SIGSTOP) }

// Resume is Pause's counterpart.
func (s *Server) Resume() { _ = s.server.Process.Signal(unix.SIGCONT) }

// Send changes or reads something, as one who may; object is YAML. It returns the UID of the object that the server
// answers with, if it has one.
func (s *Server) Send(method, path, object string) (uid string) {
	s.t.Helper()
	body, err := s.send(method, path, object)
	if err != nil {
		s.t.Fatal(err)
	}
	var answer struct{ Metadata struct{ UID string } }
	_ = json.Unmarshal(body, &answer) // some answers are no objects
	return answer.Metadata.UID
}

func (s *Server) send(method, path, object string) ([]byte, error) {
	req, err := http.NewRequestWithContext(context.WithoutCancel(s.t.Context()), method,
		"https://"+net.JoinHostPort(s.Host, s.Port)+path, bytes.NewReader([]byte(object)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer administrator")
	req.Header.Set("Content-Type", "application/yaml")
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode > 299 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
	}
	return body, err
}

// run starts a program that ends with the test.
func (s *Server) run(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.Command(name, args...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s:\n%s", name, log.Bytes()[max(0, log.Len()-4000):])
		}
	})
	return cmd
}

func (s *Server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.Folder, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("not within two minutes: " + what)
		}
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
