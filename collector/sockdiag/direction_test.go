package sockdiag

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// An agent that starts after a server went does not take the server's connections for flows of its own, whatever they
// have sent and in whatever state they are; those that this side opened are flows.
func TestKernelDirection(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	web := h.listen("10.77.0.2:8080", 128)
	send := func(fd, to, n int) {
		t.Helper()
		if _, err := unix.Write(fd, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		for n > 0 {
			got, err := unix.Read(to, make([]byte, n))
			if err != nil || got == 0 {
				t.Fatalf("read: %d bytes, %v", got, err)
			}
			n -= got
		}
	}
	var clients []string
	pair := func() (c, s int) {
		c, s = h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
		clients = append(clients, fmt.Sprint(localPort(t, c)))
		return c, s
	}
	for range 40 {
		pair() // silent
		c, s := pair()
		send(c, s, 1)
		c, s = pair()
		send(s, c, 1)
		c, s = pair()
		send(c, s, 10_000)
		send(s, c, 10_000)
	}
	c, _ := pair()
	if err := unix.Shutdown(c, unix.SHUT_WR); err != nil { // the server is in CLOSE_WAIT, the client in FIN_WAIT2
		t.Fatal(err)
	}
	unknown := clients[len(clients)-1] // a FIN may be the byte that was acknowledged beyond data
	clients = clients[:len(clients)-1]
	c, s := h.pair("10.77.0.1:0", "10.77.0.2:8080", web)
	h.close(s, c) // TIME_WAIT of the server
	h.settle()
	h.close(web)

	var rec recorder
	sp := &namespace{ns: netns.Netns{Inode: h.ns.Inode()}, unsure: newUnsure()}
	h.dial(sp)
	defer sp.close()
	r := newReader(collector.Clock(), rec.sink)
	flows := func() (ports []string) {
		t.Helper()
		if err := r.dump(context.Background(), sp); err != nil {
			t.Fatal(err)
		}
		for _, e := range rec.take() {
			if e.Kind == collector.Seen {
				ports = append(ports, fmt.Sprint(e.Flow.Source.Port()))
			}
		}
		slices.Sort(ports)
		return ports
	}
	slices.Sort(clients)
	// An acknowledgement may be on its way when the dump comes.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got := flows()
		if slices.Contains(got, "8080") || slices.Contains(got, unknown) {
			t.Fatalf("flows %v, among them the server's, or one whose direction is unknown", got)
		}
		if slices.Equal(got, clients) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d flows, want %d", len(got), len(clients))
		}
	}
	if last := sp.stats.Last; last.Unsure != 1 || last.Inbound != 162 {
		t.Errorf("%d connections of unknown direction and %d inbound, want 1 and 162", last.Unsure, last.Inbound)
	}
}

// What struct tcp_info counts tells who opened a connection, or leaves it open.
func TestDirection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		state uint8
		info  tcpInfo
		want  direction
	}{
		{"our SYN was acknowledged", tcpEstablished, tcpInfo{known: true, beyondData: 1}, opened},
		{"data alone was acknowledged", tcpEstablished, tcpInfo{known: true}, accepted},
		{"the other side closed", tcpCloseWait, tcpInfo{known: true}, accepted},
		{"data is under way", tcpEstablished, tcpInfo{known: true, unacked: true}, directionUnknown},
		{"neither", tcpEstablished, tcpInfo{known: true, beyondData: -1448}, directionUnknown},
		{"an old kernel", tcpEstablished, tcpInfo{}, directionUnknown},
		{"a FIN may be what was acknowledged", tcpFinWait2, tcpInfo{known: true, beyondData: 1}, directionUnknown},
		{"a first packet", tcpSynSent, tcpInfo{}, opened},
		{"an answer to one", tcpSynRecv, tcpInfo{}, accepted},
	} {
		if got := tt.info.direction(tt.state); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}
