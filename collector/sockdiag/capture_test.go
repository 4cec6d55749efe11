package sockdiag

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
	"github.com/snatwatch/snatwatch/internal/golden"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// truth is what other interfaces of the kernel said of a captured socket: SO_COOKIE, fstat(2) and the cgroup file
// system. Of a socket that its process has closed nobody else can tell the cookie; it is then the message's.
type truth struct {
	Cookie, Cgroup uint64
	Inode          uint32
	Expires        uint32 // idiag_expires, milliseconds
}

// kernels returns the folders of captured messages, one for each kernel.
func kernels(t testing.TB) []string {
	t.Helper()
	folders, err := filepath.Glob("testdata/linux-*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no captured messages: %v", err)
	}
	return folders
}

// captured returns a message that a kernel sent, without its netlink header.
func captured(t testing.TB, folder, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// truths returns what is true of the captured sockets, by name.
func truths(t testing.TB, folder string) map[string]truth {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]truth
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// capture writes messages of a host, and what is true of their sockets.
type capture struct {
	*host
	folder string
	sp     *namespace
	truths map[string]truth
}

// dump writes the message of the socket at local, which a dump with req shows; fd is -1 for one that has no owner.
// ok tells when the socket has come to be as wanted.
func (c *capture) dump(name, local string, fd int, req netlink.Message, ok func(*socket) bool) {
	c.t.Helper()
	var s socket
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var found []byte
		err := c.sp.dump.Dump(c.t.Context(), req, nil, func(m nlraw.Message) error {
			if err := s.parse(m.Data); err != nil {
				return err
			}
			if s.local == addrPort(local) && ok(&s) {
				found = append([]byte(nil), m.Data...)
			}
			return nil
		})
		switch {
		case err != nil:
			c.t.Fatal(err)
		case found != nil:
			golden.Write(c.t, filepath.Join(c.folder, name+".bin"), found)
			c.truths[name] = c.truth(fd, found)
			return
		case time.Now().After(deadline):
			c.t.Fatalf("%s: no such socket at %s within a minute", name, local)
		}
	}
}

// truth asks the kernel about fd in other ways than the message did.
func (c *capture) truth(fd int, msg []byte) truth {
	c.t.Helper()
	tr := truth{
		Cookie: binary.NativeEndian.Uint64(msg[msgCookie:]), Expires: binary.NativeEndian.Uint32(msg[msgExpires:]),
	}
	if fd < 0 {
		return tr
	}
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		c.t.Fatal(err)
	}
	var st, cgroup unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		c.t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok { // cgroup v2
			if err := unix.Stat("/sys/fs/cgroup"+path, &cgroup); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	tr.Cookie, tr.Inode, tr.Cgroup = cookie, uint32(st.Ino), cgroup.Ino
	return tr
}

// destroyed writes the messages that the destroy groups have sent, named by the local port of their sockets.
func (c *capture) destroyed(names map[uint16]string) {
	c.t.Helper()
	datagrams := nlraw.NewDatagrams(drainBatch)
	for deadline := time.Now().Add(time.Minute); len(names) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("no message of %v within a minute", names)
		}
		if err := c.sp.events.ReceiveReady(datagrams); err != nil {
			c.t.Fatal(err)
		}
		for i := range datagrams.Len() {
			b, _ := datagrams.Datagram(i)
			m, _, err := nlraw.Next(b)
			if err != nil {
				c.t.Fatal(err)
			}
			var d destroyed
			if err := d.parse(m.Data); err != nil {
				c.t.Fatal(err)
			}
			if name := names[d.local.Port()]; name != "" {
				golden.Write(c.t, filepath.Join(c.folder, "destroyed-"+name+".bin"), m.Data)
				delete(names, d.local.Port())
			}
		}
	}
}

// The test writes the captured messages: go test -run TestKernelCapture -update. Addresses and ports are always the
// same, so that tests can name them.
func TestKernelCapture(t *testing.T) {
	if !golden.Update() {
		t.Skip("writes files: -update runs it")
	}
	h := newHost(t)
	r := newReader(collector.Clock(), nil)
	c := &capture{host: h, folder: filepath.Join("testdata", kerneltest.Release(t)), sp: h.watch(r, 0), truths: map[string]truth{}}
	tcp := func(state int) netlink.Message { return requestTCP(1<<state, 0, nil) }
	udp := func(state int) netlink.Message { return requestFamily(unix.AF_INET, collector.UDP, 1<<state, nil) }
	every := func(*socket) bool { return true }

	web, dual := h.listen("10.77.0.2:8080", 128), h.listen("[fd77::2]:8081", 128)
	h.listen("10.77.0.2:8082", 0)
	h.connect(h.socket(unix.SOCK_STREAM, "10.77.0.1:40000"), "10.77.0.2:8082") // fills the queue
	syn := h.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, "10.77.0.1:40006")
	h.connect(syn, "10.77.0.2:8082")
	c.dump("tcp-listen", "10.77.0.2:8080", web, tcp(tcpListen), every)
	fd, _ := h.pair("10.77.0.1:40001", "10.77.0.2:8080", web)
	c.dump("tcp-established", "10.77.0.1:40001", fd, tcp(tcpEstablished), every)
	fd, _ = h.pair("[fd77::1]:40002", "[fd77::2]:8081", dual)
	c.dump("tcp6-established", "[fd77::1]:40002", fd, tcp(tcpEstablished), every)
	fd, _ = h.pair("[::ffff:10.77.0.2]:40003", "[::ffff:10.77.0.2]:8080", web)
	c.dump("tcp6-mapped", "10.77.0.2:40003", fd, tcp(tcpEstablished), every)
	const boundInactive = 13 // TCP_BOUND_INACTIVE, include/net/tcp_states.h (Linux 6.8): to ask for; the answer says CLOSE
	fd = h.socket(unix.SOCK_STREAM, "10.77.0.1:40005")
	c.dump("tcp-bound", "10.77.0.1:40005", fd, tcp(boundInactive), every)
	client, server := h.pair("10.77.0.1:40007", "10.77.0.2:8080", web)
	h.close(client)
	c.dump("tcp-closewait", "10.77.0.2:8080", server, tcp(tcpCloseWait), func(s *socket) bool { return s.remote == addrPort("10.77.0.1:40007") })
	c.dump("tcp-finwait2-orphan", "10.77.0.1:40007", -1, tcp(tcpFinWait2), func(s *socket) bool { return s.timer == timerTimeWait })
	h.close(server)
	c.dump("tcp-timewait", "10.77.0.1:40007", -1, tcp(tcpTimeWait), every)
	h.socket(unix.SOCK_DGRAM, "10.77.0.2:53")
	fd = h.socket(unix.SOCK_DGRAM, "10.77.0.1:40010")
	h.connect(fd, "10.77.0.2:53")
	c.dump("udp-connected", "10.77.0.1:40010", fd, udp(tcpEstablished), every)
	fd = h.socket(unix.SOCK_DGRAM, "10.77.0.1:40011")
	c.dump("udp-unconnected", "10.77.0.1:40011", fd, udp(tcpClose), every)
	c.dump("tcp-synsent", "10.77.0.1:40006", syn, tcp(tcpSynSent), func(s *socket) bool { return s.retrans == 3 })

	client, server = h.pair("10.77.0.1:40021", "10.77.0.2:8080", web)
	h.close(server, client)
	client, server = h.pair("10.77.0.1:40022", "10.77.0.2:8080", web)
	h.close(client, server)
	client, server = h.pair("10.77.0.1:40023", "10.77.0.2:8080", web)
	h.reset(server, client)
	h.close(client)
	client, server = h.pair("10.77.0.1:40024", "10.77.0.2:8080", web)
	h.reset(client, server)
	h.close(server)
	client = h.socket(unix.SOCK_STREAM, "0.0.0.0:40025")
	_, nobody := sockaddr("10.77.0.2:1")
	_ = unix.Connect(client, nobody) // refused
	h.close(client)
	client = h.socket(unix.SOCK_STREAM|unix.SOCK_NONBLOCK, "10.77.0.1:40026")
	h.connect(client, "10.77.0.2:8082")
	h.drop(client)
	h.close(h.socket(unix.SOCK_STREAM, "10.77.0.1:40027"))
	client = h.socket(unix.SOCK_DGRAM, "10.77.0.1:40028")
	h.connect(client, "10.77.0.2:53")
	h.close(client)
	h.close(h.socket(unix.SOCK_DGRAM, "10.77.0.1:40029"))
	c.destroyed(map[uint16]string{
		40021: "tcp-fin", 40022: "tcp-active-close", 40023: "tcp-reset-by-peer", 40024: "tcp-reset", 40025: "tcp-refused",
		40026: "tcp-unanswered", 40027: "tcp-never-connected", 40028: "udp", 40029: "udp-unconnected",
	})
	text, err := json.MarshalIndent(c.truths, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Write(t, filepath.Join(c.folder, "truth.json"), append(text, '\n'))
}
