// Package kerneltest gives a test of the real kernel a network namespace of its own. If the test lacks the rights or a
// program, the package skips it, or fails it under KERNEL_TESTS=require.
package kerneltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// Require skips the test if the process lacks one of caps, or fails it under
// KERNEL_TESTS=require.
func Require(t testing.TB, caps ...netns.Capability) {
	t.Helper()
	have, err := netns.Effective()
	if err != nil {
		t.Fatal(err)
	}
	var need netns.Capabilities
	for _, c := range caps {
		need = need.With(c)
	}
	if missing := need.Without(have); missing != 0 {
		Cannot(t, "missing "+missing.String())
	}
}

// Cannot skips the test with the reason why it cannot run here, or fails it under KERNEL_TESTS=require.
func Cannot(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("KERNEL_TESTS") == "require" {
		t.Fatal("KERNEL_TESTS=require, but " + reason)
	}
	t.Skip(reason)
}

// Lacks skips the test if the kernel is built without feature, which err shows. Under KERNEL_TESTS=require the test
// fails unless KERNEL_LACKS, a list of words with commas between, has the feature: whoever sets it knows where else
// the test runs.
func Lacks(t testing.TB, feature string, err error) {
	t.Helper()
	reason := fmt.Sprintf("the kernel is built without %s: %v", feature, err)
	if slices.Contains(strings.Split(os.Getenv("KERNEL_LACKS"), ","), feature) {
		t.Skip(reason)
	}
	Cannot(t, reason+" (KERNEL_LACKS="+feature+" skips what needs it)")
}

// Program returns the path of a program, which is part of the package debian. Without it the test skips with the
// reason, or fails under KERNEL_TESTS=require.
func Program(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Cannot(t, "no "+name+": apt-get install "+debian)
	}
	return path
}

// Netns makes a network namespace with its loopback interface up. It lasts as long as the test. No process lives in it:
// enter it by Handle.Do.
func Netns(t testing.TB) *netns.Handle {
	t.Helper()
	Require(t, netns.SysAdmin, netns.NetAdmin)
	var h *netns.Handle
	err := elsewhere(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		if h, err = netns.Self(); err != nil {
			return err
		}
		return linkUp("lo")
	})
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// Command runs a command inside ns and returns its output. Without the command the test skips, or fails under
// KERNEL_TESTS=require.
func Command(t testing.TB, ns *netns.Handle, name string, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Cannot(t, err.Error())
	}
	var out []byte
	err = ns.Do(func() (err error) { // the child inherits the namespace of the thread that forks
		out, err = exec.Command(path, args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

// Release is the kernel's version as folders of captured messages name it: linux-6.18.
func Release(t testing.TB) string {
	t.Helper()
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	numbers := strings.SplitN(unix.ByteSliceToString(uts.Release[:]), ".", 3)
	return "linux-" + numbers[0] + "." + numbers[1]
}

// Process starts a process that sleeps in a network namespace of its own until
// the test ends, and returns its process id.
func Process(t testing.TB) int {
	t.Helper()
	Require(t, netns.SysAdmin)
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	// Pdeathsig follows the thread that forked, so that thread must stay.
	runtime.LockOSThread()
	if err := cmd.Start(); err != nil {
		runtime.UnlockOSThread()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		runtime.UnlockOSThread()
	})
	return cmd.Process.Pid
}

// Unprivileged runs the calling test a second time, in a process without any
// capability, and takes over its result. It returns true in that second process, which finds files as descriptors 3 and
// up. It returns false in the first process, whose test should then return.
func Unprivileged(t *testing.T, files ...*os.File) bool {
	t.Helper()
	const env = "KERNELTEST_UNPRIVILEGED"
	if os.Getenv(env) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		Cannot(t, "only root can become somebody else")
	}
	const nobody = 65534
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+t.Name())
	cmd.ExtraFiles = files
	cmd.Dir = "/"
	cmd.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("without rights: %v\n%s", err, out)
	}
	return false
}

// elsewhere runs f on a thread that is thrown away afterwards.
func elsewhere(f func() error) error {
	done := make(chan error, 1)
	go netns.OnThread(func() { done <- f() })
	return <-done
}

func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, ifr); err != nil {
		return err
	}
	ifr.SetUint16(ifr.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}
