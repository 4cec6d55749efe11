package truth

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// SCTP has an entry for each path to a peer of several addresses, as soon as there was a heartbeat. No budget counts
// them; the source counts all as flows of other protocols.
func TestKernelSCTP(t *testing.T) {
	t.Parallel()
	client, middle, far := kerneltest.Gateway(t, masquerading)
	kerneltest.Command(t, far, "ip", "address", "add", "10.82.0.3/24", "dev", "eth0")
	open := func() (fd int, err error) { return unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP) }
	var listener int
	err := far.Do(func() (err error) { listener, err = open(); return err })
	if err != nil {
		kerneltest.Lacks(t, "sctp", err)
	}
	t.Cleanup(func() { _ = unix.Close(listener) })
	sysctl(t, client, "sctp/hb_interval", "1000")
	server := unix.SockaddrInet4{Port: 7000}
	if err := unix.Bind(listener, &server); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(listener, 100); err != nil {
		t.Fatal(err)
	}
	w := newWatch(t, middle, conntrack.Poll, provider(t))
	server.Addr = [4]byte{10, 82, 0, 2}
	const n = 5
	err = client.Do(func() error {
		for range n {
			fd, err := open()
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = unix.Close(fd) })
			if err := unix.Connect(fd, &server); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.until("both paths of each association to have an entry", func() bool { return w.other(unix.IPPROTO_SCTP) == 2*n })
	w.until("the source to have counted them", func() bool {
		w.settled()
		return w.source.Stats().OtherProtocols[unix.IPPROTO_SCTP] == 2*n
	})
	if p := w.tcp(); p.Live != 0 || p.Opened != 0 {
		t.Errorf("%d live of %d opened under a budget, want none", p.Live, p.Opened)
	}
}

// other counts the entries of a protocol.
func (w *watch) other(protocol uint8) (n int) {
	w.t.Helper()
	all, err := w.table.Dump(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range all {
		if f.TupleOrig.Proto.Protocol == protocol {
			n++
		}
	}
	return n
}
