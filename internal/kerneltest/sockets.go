package kerneltest

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// A process may hold so many descriptors that ten thousands of sockets take several.
const (
	holdEnv    = "KERNELTEST_HOLD" // "LOCAL REMOTE COUNT"
	holdPerJob = 18_000
)

// Hold does the work of a process that Sockets started, and reports whether this is one. TestMain calls it first.
func Hold() bool {
	job := os.Getenv(holdEnv)
	if job == "" {
		return false
	}
	if err := hold(job); err != nil {
		fmt.Println(err)
	}
	return true
}

// hold keeps TCP flows open until its standard input ends.
func hold(job string) error {
	var from, to string
	var n int
	if _, err := fmt.Sscan(job, &from, &to, &n); err != nil {
		return err
	}
	local, err := netip.ParseAddr(from)
	if err != nil {
		return err
	}
	remote, err := netip.ParseAddrPort(to)
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: uint64(n + 100), Max: 20_000}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		// The port is chosen by connect, which knows the destination.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: remote.Addr().As4(), Port: int(remote.Port())}); err != nil {
			return err
		}
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// Sockets makes a namespace with n established TCP sockets and nothing else, until the test ends. Their servers are in
// another one, in the queue of a listener, where they need no descriptor. attr, if set, says how each of the processes
// that hold them is started, by number.
func Sockets(t testing.TB, n int, attr func(job int) *syscall.SysProcAttr) *netns.Handle {
	t.Helper()
	clients, servers := Netns(t), Netns(t)
	Command(t, clients, "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns",
		fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), servers.FD()))
	for i, ns := range []*netns.Handle{clients, servers} {
		Command(t, ns, "ip", "address", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", fmt.Sprintf("v%d", i))
		Command(t, ns, "ip", "link", "set", fmt.Sprintf("v%d", i), "up")
	}
	write := func(ns *netns.Handle, name, value string) {
		if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }); err != nil {
			t.Fatal(err)
		}
	}
	write(servers, "core/somaxconn", "65535")
	write(servers, "ipv4/tcp_max_syn_backlog", "65535")
	write(clients, "ipv4/ip_local_port_range", "10000 65000")
	for job := 0; n > 0; job++ {
		k := min(n, holdPerJob)
		n -= k
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 0, 2}), uint16(8000+job))
		listen(t, servers, to)
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=10.77.0.1 %v %d", holdEnv, to, k))
		if attr != nil {
			cmd.SysProcAttr = attr(job)
		}
		start(t, clients, cmd)
	}
	return clients
}

// listen queues flows at a TCP address until the test ends.
func listen(t testing.TB, ns *netns.Handle, at netip.AddrPort) {
	t.Helper()
	fd := -1
	err := ns.Do(func() (err error) {
		if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}); err != nil {
			return err
		}
		return unix.Listen(fd, 65535)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
}

// start starts a process of Hold in a namespace, and waits until it has its flows.
func start(t testing.TB, ns *netns.Handle, cmd *exec.Cmd) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := ns.Do(cmd.Start); err != nil { // the child inherits the namespace of the thread that forks
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("connect: %q, %v", line, err)
	}
}
