package sockdiag

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
)

// dialOut connects a new socket that is not bound, and returns what connect said.
func (h *host) dialOut(remote string) (fd int, err error) {
	h.t.Helper()
	family, sa := sockaddr(remote)
	err = h.ns.Do(func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.open[fd] = true
	if err = unix.Connect(fd, sa); errors.Is(err, unix.EINPROGRESS) {
		err = nil
	}
	return fd, err
}

// A socket that found no local port says so when it is destroyed, and towards which address. Sockets that were bound
// before they connected to one destination leave fewer ports to all others.
func TestKernelNoPort(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	err := h.ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40099"), 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	h.listen("10.77.0.2:443", 200)
	h.listen("10.77.0.3:443", 200)
	h.listen("[fd77::2]:443", 200)
	for range 60 {
		h.connect(h.socket(unix.SOCK_STREAM, "10.77.0.1:0"), "10.77.0.2:443")
	}
	var rec recorder
	r := newReader(collector.Clock(), rec.sink)
	sp := h.watch(r, 0)
	var fds []int
	for _, remote := range []string{"10.77.0.3:443", "[fd77::2]:443"} {
		held := 0
		for range 105 {
			fd, err := h.dialOut(remote)
			switch {
			case err == nil:
				held++
			case errors.Is(err, unix.EADDRNOTAVAIL):
				fds = append(fds, fd)
			default:
				t.Fatal(err)
			}
		}
		if remote == "10.77.0.3:443" && held != 40 {
			t.Errorf("%s: %d ports, want the 40 that bound sockets leave", remote, held)
		}
	}
	if len(fds) < 65 {
		t.Fatalf("%d sockets found no port", len(fds))
	}
	// What else is destroyed is no such failure.
	never := h.socket(unix.SOCK_DGRAM, "10.77.0.1:0")
	refused, err := h.dialOut("10.77.0.4:9")
	fds = append(fds, never, refused)
	_ = err // refused at once or later
	before := sp.stats.Destroyed.Told
	for _, fd := range fds {
		h.drop(fd)
	}
	ends(t, r, sp, before+uint64(len(fds)))
	got := map[string]int{}
	for _, e := range rec.take() {
		if e.Kind == collector.NoPort {
			got[fmt.Sprintf("%v %v netns %v", e.Flow.Protocol, e.Flow.Destination, e.Netns == h.ns.Inode() && e.Flow.Netns == e.Netns)]++
		}
	}
	want := map[string]int{"tcp 10.77.0.3:0 netns true": 65, "tcp [fd77::2]:0 netns true": len(fds) - 2 - 65}
	if want["tcp [fd77::2]:0 netns true"] == 0 {
		delete(want, "tcp [fd77::2]:0 netns true")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sockets without a port (-want +got):\n%s", diff)
	}
	if n := sp.stats.Destroyed.NoPort; n != uint64(len(fds)-2) {
		t.Errorf("%d counted, want %d", n, len(fds)-2)
	}
}
