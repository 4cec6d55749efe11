package cloud

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where packets to the service's address get no answer at all, the agent does not wait for one until the timeout of a
// request: it is not ready before.
func TestNobodyAnswersSoon(t *testing.T) {
	t.Parallel()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port)
	// Linux drops the first packet of a connection for which the queue of its listener has no room.
	for {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			break
		}
		defer func() { _ = c.Close() }()
	}
	got := make(chan error, 1)
	go func() {
		_, err := Client{URL: "http://" + address, Timeout: time.Hour}.Ask(t.Context())
		got <- err
	}()
	select {
	case err := <-got:
		if err != nil {
			t.Errorf("error %v, want none: there is no service", err)
		}
	case <-time.After(time.Minute):
		t.Error("it still waits for a connection after a minute")
	}
}
