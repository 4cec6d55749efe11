package agent

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/cloud"
)

// A service manager hears that the agent is ready once the first dump is complete and not before, that it
// lives, what it cannot see, and that it stops.
func TestSystemdIsTold(t *testing.T) {
	address := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	t.Setenv("NOTIFY_SOCKET", address)
	t.Setenv("WATCHDOG_USEC", "120000000")
	next := func() string {
		if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1024)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	a, _ := newQuietAgent(t, "budgets: [{name: web, model: static, tcp: {ports: 8}}]\n", cloud.Client{})
	a.notices.set("owners", "missing CAP_SYS_PTRACE:\nREADY=0")
	for a.publisher.state.Load() == nil { // the loop publishes once when it begins
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.publisher.tellSystemd(ctx) }()

	if err := socket.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := socket.Read(make([]byte, 1024)); err == nil {
		t.Errorf("%d bytes were sent before the first dump", n)
	}
	a.publisher.ready.Store(true)
	for _, want := range []string{"READY=1", "STATUS=watching; notice: missing CAP_SYS_PTRACE: READY=0", "WATCHDOG=1"} {
		if got := next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	cancel()
	got := next()
	for strings.HasPrefix(got, "STATUS=") || got == "WATCHDOG=1" {
		got = next()
	}
	if got != "STOPPING=1" {
		t.Errorf("got %q, want STOPPING=1", got)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("returned %v", err)
	}
}

// Without a service manager nothing is sent, and the agent logs no mistake.
func TestNoSystemd(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	a, _ := newQuietAgent(t, "budgets: [{name: web, model: static, tcp: {ports: 8}}]\n", cloud.Client{})
	a.publisher.ready.Store(true)
	if err := a.publisher.tellSystemd(t.Context()); err != nil {
		t.Error(err)
	}
}
