// Package netns finds the network namespaces of this machine, enters them, and
// says which capability is missing where it cannot.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrGone means that a path leads to no network namespace, or to another one than before.
var ErrGone = errors.New("no network namespace is there")

// Handle keeps one network namespace open. While it is open the namespace lives
// on, also after its last process has ended.
type Handle struct {
	f     *os.File
	inode uint64
}

// Open opens the namespace at path, such as /proc/self/ns/net or /run/netns/blue.
// The error wraps ErrGone where none is there, and is an *AccessError where rights are missing.
func Open(path string) (*Handle, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, denied("open "+path, 0, Capabilities(0).With(SysPtrace), err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("open %s: %w", path, ErrGone)
	case err != nil:
		return nil, err
	}
	inode, err := inodeOf(f)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &Handle{f: f, inode: inode}, nil
}

// Self opens the namespace of the calling thread; that is the process's own
// unless the goroutine is locked to a thread that went elsewhere.
func Self() (*Handle, error) { return Open(pathSelf) }

// Own returns the inode number of the calling thread's namespace.
func Own() (uint64, error) { return inodeAt(pathSelf) }

const pathSelf = "/proc/thread-self/ns/net"

// Inode returns the inode number of the namespace: its name in events and metrics.
func (h *Handle) Inode() uint64 { return h.inode }

// FD returns the file descriptor, valid until Close.
func (h *Handle) FD() int { return int(h.f.Fd()) }

// Close lets the namespace go.
func (h *Handle) Close() error { return h.f.Close() }

// Governed reports whether the process's capabilities count in the namespace: not if it belongs to a user namespace
// outside the process's own, as the host's does in a rootless container. It is true where the kernel does not tell.
func (h *Handle) Governed() bool {
	owner, err := unix.IoctlRetInt(h.FD(), unix.NS_GET_USERNS)
	if err == nil {
		_ = unix.Close(owner)
	}
	return !errors.Is(err, unix.EPERM)
}

// Foreign says what of rights is missing where a namespace is not Governed, and what helps.
const Foreign = "the network namespace belongs to a user namespace outside this one, where no capability given " +
	"inside counts: run the agent outside, as root's container or without a user namespace (Kubernetes: hostUsers: true)"

// Do runs f on a thread inside the namespace and returns its error. What f opens
// stays in the namespace: sockets, and files below /proc/sys/net. In the caller's own
// namespace f runs on the calling goroutine, without any right; elsewhere on a
// thread that is thrown away afterwards, and an *AccessError says if the kernel refused.
func (h *Handle) Do(f func() error) error {
	if own, err := Own(); err == nil && own == h.inode {
		return f()
	}
	done := make(chan error, 1)
	go OnThread(func() {
		// Goexit inside f (t.FailNow) must not hang the caller.
		err := errors.New("function did not return")
		defer func() { done <- err }()
		if err = unix.Setns(h.FD(), unix.CLONE_NEWNET); err != nil {
			err = enterError(err)
			return
		}
		err = f()
	})
	return <-done
}

// OnThread runs f on an OS thread that ends with f, so that no goroutine after it runs in the wrong
// namespace. It is to be called as a goroutine of its own. The thread is not the main one: that cannot
// end, would keep the namespace alive, and /proc/PID/ns/net would show it as the whole process's.
func OnThread(f func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	moved := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(moved)
		f()
	}()
	<-moved
	runtime.UnlockOSThread()
}

func enterError(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return denied("enter another network namespace", 0, Capabilities(0).With(SysAdmin), err)
	}
	return fmt.Errorf("enter network namespace: %w", err)
}

// inodeOf returns the inode number of f if it is a network namespace.
func inodeOf(f *os.File) (uint64, error) {
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	if errors.Is(err, unix.ENOTTY) { // gVisor and QEMU's emulation of programs do not know the call
		if name, err := os.Readlink(f.Name()); err == nil && strings.HasPrefix(name, "net:[") {
			kind = unix.CLONE_NEWNET
		}
	}
	if kind != unix.CLONE_NEWNET {
		return 0, fmt.Errorf("%w: something else is", ErrGone)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	return st.Ino, nil
}

// inodeAt follows path to a namespace and returns its inode number.
func inodeAt(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st.Ino, nil
}
