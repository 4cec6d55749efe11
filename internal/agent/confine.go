package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// confined marks the environment of a process that has given up capabilities already.
const confined = "SNATWATCH_CONFINED"

// Needed returns the capabilities that the agent keeps where it has them: the four that
// seeing flows may take, and one to listen below port 1024.
func Needed() netns.Capabilities {
	return netns.Capabilities(0).With(netns.NetAdmin).With(netns.SysPtrace).With(netns.SysAdmin).
		With(netns.DACReadSearch).With(netns.Capability(unix.CAP_NET_BIND_SERVICE))
}

// Confine gives up all other capabilities, for good and on every thread: whoever takes over a root agent cannot use
// them either. Capabilities belong to threads, and only exec drops them on all threads at once, so the process starts
// itself again; call Confine before anything is open. It returns nil if there is nothing to give up.
func Confine() error {
	have, err := netns.Effective()
	if err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	excess := have.Without(Needed())
	if excess == 0 {
		return nil
	}
	if os.Getenv(confined) != "" {
		return fmt.Errorf("give up %v: they came back", excess)
	}
	runtime.LockOSThread() // until exec, or the error that leaves the rest as it was
	defer runtime.UnlockOSThread()
	for c := range 64 {
		if Needed().Has(netns.Capability(c)) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // beyond the kernel's last
		}
		if err != nil {
			return fmt.Errorf("give up %v: %w", netns.Capability(c), err)
		}
		// gVisor knows no ambient capabilities: EINVAL.
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, uintptr(c), 0, 0); err != nil &&
			!errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give up %v: %w", netns.Capability(c), err)
		}
	}
	// With no_new_privs the kernel ignores capabilities of the binary itself, which is how
	// anybody but root has them.
	if os.Geteuid() == 0 {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return fmt.Errorf("start again with fewer capabilities: %w",
		unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), confined+"=1")))
}
