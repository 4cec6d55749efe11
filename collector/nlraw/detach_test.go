package nlraw_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// detach dials NETLINK_ROUTE and detaches the socket, whose inode number it returns.
func detach(t *testing.T) (*nlraw.Conn, uint64) {
	t.Helper()
	c, err := nlraw.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.Netlink().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if e := raw.Control(func(fd uintptr) { err = unix.Fstat(int(fd), &st) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	if !polled(t, st.Ino) {
		t.Fatalf("the poller does not know socket %d before it is detached: the test proves nothing", st.Ino)
	}
	if err := c.Detach(); err != nil {
		t.Fatal(err)
	}
	return c, st.Ino
}

// polled reports whether an epoll instance of this process watches the socket of that inode number.
func polled(t *testing.T, inode uint64) bool {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err != nil || to != "anon_inode:[eventpoll]" {
			continue
		}
		b, err := os.ReadFile("/proc/self/fdinfo/" + filepath.Base(l))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), fmt.Sprintf(" ino:%x ", inode)) {
			return true
		}
	}
	return false
}

// A datagram for a detached socket wakes nobody: Go's poller does not watch it. It dumps as any other.
func TestKernelDetach(t *testing.T) {
	t.Parallel()
	c, inode := detach(t)
	if polled(t, inode) {
		t.Error("the poller still watches the socket")
	}
	dumps(t, c)
}

// A detached socket waits for what comes later, and no longer than its context lives.
func TestKernelDetachedWaits(t *testing.T) {
	t.Parallel()
	c, _ := detach(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("cancelled: %v", err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		time.Sleep(20 * time.Millisecond)
		_, _ = c.Send(netlink.Message{Header: netlink.Header{Type: 0x7fff, Flags: netlink.Request}, Data: []byte{1}})
	}()
	b, err := c.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if m, _, err := nlraw.Next(b); err != nil || m.Type != unix.NLMSG_ERROR {
		t.Errorf("received %+v, %v", m, err)
	}
	<-sent
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Receive(t.Context()); err == nil {
		t.Error("a closed socket is read")
	}
}
