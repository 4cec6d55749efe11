package lab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// childEnv makes the test binary the process that dies with a lab; its value says how.
const childEnv = "SNATWATCH_LAB_CHILD"

// traces is what a lab could leave in the namespace that its process started in.
type traces struct {
	Links, Tables []string
}

func findTraces(t *testing.T, ns *namespace) traces {
	t.Helper()
	var left traces
	err := ns.do(func() error {
		links, err := net.Interfaces()
		if err != nil {
			return err
		}
		for _, l := range links {
			left.Links = append(left.Links, l.Name)
		}
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		for _, table := range tables {
			left.Tables = append(left.Tables, fmt.Sprint(table.Family, table.Name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// holders lists the processes in or with a file of one of the namespaces, and mounts of them.
func holders(t *testing.T, inodes []uint64) []string {
	t.Helper()
	want := map[string]bool{}
	for _, i := range inodes {
		want[fmt.Sprintf("net:[%d]", i)] = true
	}
	var found []string
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if root := strings.Fields(line)[3]; want[root] {
			found = append(found, line)
		}
	}
	procs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		for _, dir := range []string{"/proc/" + p.Name() + "/fd", "/proc/" + p.Name() + "/task"} {
			files, _ := os.ReadDir(dir) // no process, or one that ended meanwhile
			for _, f := range files {
				path := dir + "/" + f.Name()
				if strings.HasSuffix(dir, "/task") {
					path += "/ns/net"
				}
				if to, _ := os.Readlink(path); want[to] {
					found = append(found, path)
				}
			}
		}
	}
	return found
}

// TestKernelNothingIsLeft kills a process that runs a lab, in several ways, and looks
// for what it left. A namespace that only a dying socket still holds shows in no list of processes, so
// where the kernel gives file handles of namespaces (Linux 6.18) these are tried too.
func TestKernelNothingIsLeft(t *testing.T) {
	if how := os.Getenv(childEnv); how != "" {
		child(t, how)
		return
	}
	newLab(t, Topology{}).Close()
	for _, tt := range []struct {
		name, how string
		signal    unix.Signal
	}{
		{"killed", "sleep", unix.SIGKILL},
		{"interrupted", "sleep", unix.SIGINT},
		{"panic in a goroutine", "panic", 0},
		{"exit without Close", "exit", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The process starts in a namespace that nobody else writes to.
			ns, err := newNamespace()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = ns.close() }()
			before := findTraces(t, ns)
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKernelNothingIsLeft$")
			cmd.Env = append(os.Environ(), childEnv+"="+tt.how)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := ns.do(cmd.Start); err != nil {
				t.Fatal(err)
			}
			var made struct {
				Inodes []uint64
				Paths  []string
			}
			if err := json.NewDecoder(bufio.NewReader(out)).Decode(&made); err != nil {
				t.Fatalf("child: %v", err)
			}
			if len(holders(t, made.Inodes)) == 0 {
				t.Fatalf("no process holds %v while the lab runs: the test sees nothing", made.Inodes)
			}
			handles := namespaceHandles(t, made.Paths)
			if tt.signal != 0 {
				if err := cmd.Process.Signal(tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			_ = in.Close() // lets the child go on to its own end
			var exit *exec.ExitError
			if err := cmd.Wait(); !errors.As(err, &exit) {
				t.Fatalf("child ended with %v, want a failure", err)
			}
			if left := leftOf(t, made.Inodes, handles); left != "" {
				t.Error(left)
			}
			if d := cmp.Diff(before, findTraces(t, ns)); d != "" {
				t.Errorf("traces (-before +after):\n%s", d)
			}
		})
	}
}

// child builds a lab with flows in every state, tells its namespaces, and ends as told
// once its input does.
func child(t *testing.T, how string) {
	l := newLab(t, Topology{Nodes: 2, NAT: []NAT{{VIPs: vips(1), Ports: testPorts}}})
	s := hold(t, l.Server(0), 443)
	f, err := l.Node(0).OpenTCP(s.Addr, 1100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.AwaitEstablished(t.Context(), 1024, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	half, err := l.Node(1).OpenTCP(s.Addr, 10) // all ports are held: these stay in SYN_SENT
	if err != nil {
		t.Fatal(err)
	}
	half.Shutdown()
	var made struct {
		Inodes []uint64
		Paths  []string
	}
	for _, h := range []*Host{l.Router(), l.Node(0), l.Node(1), l.Server(0)} {
		made.Inodes = append(made.Inodes, h.Netns())
		made.Paths = append(made.Paths, h.Path())
	}
	if err := json.NewEncoder(os.Stdout).Encode(made); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	switch how {
	case "panic":
		go func() { panic("a step broke") }()
		select {}
	case "exit":
		os.Exit(3)
	}
	time.Sleep(time.Minute) // until the signal
}

// namespaceHandles are file handles of namespaces, which do not keep them alive; none
// where the kernel has no such handles.
func namespaceHandles(t *testing.T, paths []string) []unix.FileHandle {
	t.Helper()
	var handles []unix.FileHandle
	for _, p := range paths {
		h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, p, unix.AT_SYMLINK_FOLLOW)
		if errors.Is(err, unix.EOPNOTSUPP) {
			t.Log("no file handles of namespaces on this kernel: only processes were searched")
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		handles = append(handles, h)
	}
	if n := alive(handles); n != len(handles) {
		t.Fatalf("%d of %d handles open while the lab runs", n, len(handles))
	}
	return handles
}

// leftOf waits until the namespaces are gone, and says what is left of them after a while. Their inode
// numbers go to the next namespaces at once, so these are asked only where there are no handles.
func leftOf(t *testing.T, inodes []uint64, handles []unix.FileHandle) string {
	t.Helper()
	const most = 15 * time.Second
	for deadline := time.Now().Add(most); ; time.Sleep(50 * time.Millisecond) {
		n, held := alive(handles), []string(nil)
		if handles == nil {
			held = holders(t, inodes)
		}
		switch {
		case n == 0 && len(held) == 0:
			return ""
		case time.Now().After(deadline):
			return fmt.Sprintf("%d of %d namespaces live %v after their process; held by %v", n, len(handles), most, held)
		}
	}
}

// alive counts the namespaces that still exist.
func alive(handles []unix.FileHandle) int {
	self, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return len(handles)
	}
	defer func() { _ = self.Close() }()
	n := 0
	for _, h := range handles {
		fd, err := unix.OpenByHandleAt(int(self.Fd()), h, unix.O_RDONLY)
		if err == nil {
			_ = unix.Close(fd)
		}
		if !errors.Is(err, unix.ESTALE) && !errors.Is(err, unix.ENOENT) {
			n++
		}
	}
	return n
}
