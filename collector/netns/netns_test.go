package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func TestKernelDo(t *testing.T) {
	t.Parallel()
	own, err := netns.Own()
	if err != nil {
		t.Fatal(err)
	}
	ns := kerneltest.Netns(t)
	if ns.Inode() == own {
		t.Fatalf("the new namespace has the inode of the old, %d", own)
	}
	var inside uint64
	if err := ns.Do(func() (err error) { inside, err = netns.Own(); return err }); err != nil {
		t.Fatal(err)
	}
	if inside != ns.Inode() {
		t.Errorf("inside: netns %d, want %d", inside, ns.Inode())
	}
	for range 50 { // whatever thread we run on, it is an untouched one
		done := make(chan uint64)
		go func() { n, _ := netns.Own(); done <- n }()
		if n := <-done; n != own {
			t.Fatalf("a goroutine runs in netns %d, want %d", n, own)
		}
	}
	broken := errors.New("broken")
	if err := ns.Do(func() error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error of the function: %v, want %v", err, broken)
	}
}

func TestKernelFind(t *testing.T) {
	t.Parallel()
	pid := kerneltest.Process(t)
	procPath := fmt.Sprintf("/proc/%d/ns/net", pid)
	h, err := netns.Open(procPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	bound := kerneltest.Netns(t)
	mounts := t.TempDir()
	bindTo(t, bound, filepath.Join(mounts, "blue"))
	bindTo(t, bound, filepath.Join(mounts, "green"))
	if err := os.WriteFile(filepath.Join(mounts, "left-behind"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	finder := netns.Finder{Mounts: []string{filepath.Join(mounts, "absent"), mounts}}
	list, err := finder.Find()
	var refused *netns.AccessError // some processes refuse even root, in a container
	if err != nil && (!errors.As(err, &refused) || refused.Missing != 0) {
		t.Fatal(err)
	}
	inode := func(n netns.Netns) uint64 { return n.Inode }
	if !slices.IsSortedFunc(list, func(a, b netns.Netns) int { return int(a.Inode) - int(b.Inode) }) {
		t.Errorf("not in order of inode: %v", list)
	}
	own, err := netns.Own()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		name  string
		inode uint64
		path  string
		pid   int
	}{
		{"own", own, "", -1},
		{"of a process", h.Inode(), procPath, pid},
		{"bound to a name, no process", bound.Inode(), filepath.Join(mounts, "blue"), 0},
	} {
		i := slices.IndexFunc(list, func(n netns.Netns) bool { return inode(n) == want.inode })
		if i < 0 {
			t.Errorf("%s: netns %d not found in %v", want.name, want.inode, list)
			continue
		}
		if want.path != "" && (list[i].Path != want.path || list[i].PID != want.pid) {
			t.Errorf("%s: got %+v, want path %s, process %d", want.name, list[i], want.path, want.pid)
		}
		if !list[i].Alive() {
			t.Errorf("%s: %+v not alive", want.name, list[i])
		}
		got, err := list[i].Open()
		if err != nil {
			t.Errorf("%s: %v", want.name, err)
			continue
		}
		if got.Inode() != want.inode {
			t.Errorf("%s: opened netns %d, want %d", want.name, got.Inode(), want.inode)
		}
		_ = got.Close()
	}

	// One of two names is undone before the namespace is opened.
	i := slices.IndexFunc(list, func(n netns.Netns) bool { return n.Inode == bound.Inode() })
	if i < 0 {
		t.Fatal("the bound namespace was not found")
	}
	if err := unix.Unmount(filepath.Join(mounts, "blue"), unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	got, err := list[i].Open()
	if err != nil || !list[i].Alive() {
		t.Fatalf("the other name: %v, alive: %v", err, list[i].Alive())
	}
	if got.Inode() != bound.Inode() {
		t.Errorf("the other name: opened netns %d, want %d", got.Inode(), bound.Inode())
	}
	_ = got.Close()
	bindTo(t, bound, filepath.Join(mounts, "blue"))

	// A name that by now belongs to another, and a process that has ended.
	for name, gone := range map[string]netns.Netns{
		"taken over": {Inode: h.Inode(), Path: filepath.Join(mounts, "blue")},
		"ended":      {Inode: h.Inode(), Path: "/proc/4194305/ns/net"},
	} {
		if _, err := gone.Open(); !errors.Is(err, netns.ErrGone) {
			t.Errorf("%s: %v, want %v", name, err, netns.ErrGone)
		}
		if gone.Alive() {
			t.Errorf("%s: alive", name)
		}
	}
}

// bindTo mounts ns on path, as ip-netns(8) does, for the time of the test.
func bindTo(t *testing.T, ns *netns.Handle, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", ns.FD()), path, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

func TestOpenWhatIsNone(t *testing.T) {
	t.Parallel()
	for _, path := range []string{os.DevNull, "/proc/self/ns/uts", t.TempDir()} {
		if h, err := netns.Open(path); err == nil {
			t.Errorf("%s: opened as netns %d", path, h.Inode())
		}
	}
}

// Without rights the own namespace can still be entered and the rest is named.
func TestKernelWithoutRights(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		other := kerneltest.Netns(t)
		f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", other.FD()))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		kerneltest.Unprivileged(t, f)
		return
	}
	if !kerneltest.Unprivileged(t) {
		return
	}
	own, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	ran := false
	if err := own.Do(func() error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("own namespace: %v, ran %v", err, ran)
	}
	other, err := netns.Open("/proc/self/fd/3")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()

	tests := []struct {
		name    string
		do      func() error
		missing netns.Capability
	}{
		{"find", func() error {
			list, err := netns.Finder{}.Find()
			if !slices.ContainsFunc(list, func(n netns.Netns) bool { return n.Inode == own.Inode() }) {
				t.Errorf("own namespace not in %v", list)
			}
			return err
		}, netns.SysPtrace},
		{"open another's", func() error {
			_, err := netns.Open(fmt.Sprintf("/proc/%d/ns/net", os.Getppid()))
			return err
		}, netns.SysPtrace},
		{"enter another", func() error {
			return other.Do(func() error { t.Error("entered"); return nil })
		}, netns.SysAdmin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do()
			var refused *netns.AccessError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want an *AccessError", err)
			}
			if want := netns.Capabilities(0).With(tt.missing); refused.Missing != want {
				t.Errorf("missing %v, want %v", refused.Missing, want)
			}
			if !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%v does not match %v", err, fs.ErrPermission)
			}
		})
	}
}

func TestAccessErrorText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		err          netns.AccessError
		text, remedy string
	}{
		{
			name:   "one missing",
			err:    netns.AccessError{What: "see the others", Hidden: 3, Missing: netns.Capabilities(0).With(netns.SysPtrace)},
			text:   "cannot see the others (3): needs CAP_SYS_PTRACE",
			remedy: "systemd: AmbientCapabilities=CAP_SYS_PTRACE; Kubernetes: securityContext.capabilities.add: [SYS_PTRACE]; Docker: --cap-add SYS_PTRACE",
		},
		{
			name:   "two missing",
			err:    netns.AccessError{What: "enter", Missing: netns.Capabilities(0).With(netns.SysAdmin).With(netns.SysPtrace)},
			text:   "cannot enter: needs CAP_SYS_PTRACE CAP_SYS_ADMIN",
			remedy: "systemd: AmbientCapabilities=CAP_SYS_PTRACE CAP_SYS_ADMIN; Kubernetes: securityContext.capabilities.add: [SYS_PTRACE, SYS_ADMIN]; Docker: --cap-add SYS_PTRACE --cap-add SYS_ADMIN",
		},
		{
			name: "none missing",
			err:  netns.AccessError{What: "enter"},
			text: "cannot enter: refused though no capability is missing (another user namespace or a security module)",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := []string{tt.err.Error(), tt.err.Remedy()}
			if diff := cmp.Diff([]string{tt.text, tt.remedy}, got); diff != "" {
				t.Errorf("text and remedy (-want +got):\n%s", diff)
			}
		})
	}
}

// The main thread cannot end, so it must not be the one that goes elsewhere: it would keep the
// namespace alive, and /proc/PID/ns/net would tell of it as the agent's own.
func TestKernelDoKeepsTheMainThread(t *testing.T) {
	h := kerneltest.Netns(t)
	var g sync.WaitGroup
	for range 200 {
		g.Go(func() {
			err := h.Do(func() error {
				if unix.Gettid() == unix.Getpid() {
					t.Error("it runs on the main thread")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	own, err := netns.Own()
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/net", &st); err != nil {
		t.Fatal(err)
	}
	if st.Ino != own {
		t.Errorf("the process shows namespace %d as its own, want %d", st.Ino, own)
	}
}
