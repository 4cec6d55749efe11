package kerneltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/child"
)

// environment of the second process of OwnProcesses: its test, and the process id of the first.
const (
	ownTest = "KERNELTEST_OWN_PROCESSES"
	ownFrom = "KERNELTEST_FROM"
)

// OwnProcesses runs the calling test a second time, in a process that sees itself and its children alone in /proc, and
// takes over its result: what other tests run at the same time, in namespaces with the same addresses, is not there. It
// returns true in that second process. It returns false in the first, whose test should then return.
func OwnProcesses(t *testing.T) bool {
	t.Helper()
	Require(t, netns.SysAdmin)
	if os.Getenv(ownTest) == t.Name() {
		// Mounts made here are not to be seen outside.
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	// Its process id is 1: when it ends the kernel ends all that it started.
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), ownTest+"="+t.Name(), fmt.Sprintf("%s=%d", ownFrom, os.Getpid()))
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	var printed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &printed
	err := child.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	out := printed.Bytes()
	if err == nil && bytes.Contains(out, []byte("--- SKIP: "+t.Name())) {
		t.Skipf("among its own processes:\n%s", out)
	}
	if err != nil || !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Errorf("among its own processes: %v\n%s", err, out)
	} else {
		t.Logf("among its own processes:\n%s", out)
	}
	return false
}

// Unique is a number for names that all tests on the machine share, such as those of containers: the process id, and
// below OwnProcesses the id of the first process.
func Unique() int {
	if n, err := strconv.Atoi(os.Getenv(ownFrom)); err == nil {
		return n
	}
	return os.Getpid()
}
