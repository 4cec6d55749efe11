// Package confine takes from the process of the agent what it does not need, for good: the user root, capabilities, and
// system calls. What is taken, and what is not and why, stands in README.md.
package confine

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// confined marks the environment of a process that has started itself again with fewer rights.
const confined = "SNATWATCH_CONFINED"

// Needed returns the capabilities that the agent keeps where it has them: the four that
// seeing flows may take, and one to listen below port 1024.
func Needed() netns.Capabilities {
	return netns.Capabilities(0).With(netns.NetAdmin).With(netns.SysPtrace).With(netns.SysAdmin).
		With(netns.DACReadSearch).With(netns.Capability(unix.CAP_NET_BIND_SERVICE))
}

// Process gives up what the agent does not need, on every thread: whoever takes over the agent cannot use it either.
// Call it before anything is open. writes are the folders that the agent writes to, an empty one where that is not
// known. kept says what it keeps though it need not, and why. On an error the rest is given up all the same.
func Process(writes []string) (kept []string, err error) {
	root, err := startAgain(writes)
	if root != "" {
		kept = append(kept, "the agent stays root: "+root)
	}
	calls, filterErr := deny(len(writes) > 0)
	if calls != "" {
		kept = append(kept, "the agent may make all system calls: "+calls)
	}
	return kept, errors.Join(err, filterErr)
}

// startAgain gives up capabilities and the user. They belong to threads, and only exec changes them on all at once, so
// the process starts itself again. It returns if there is nothing to give up, or if it cannot. root says why the
// process stays root, and is empty if it does not.
func startAgain(writes []string) (root string, err error) {
	have, err := netns.Effective()
	if err != nil {
		return "", fmt.Errorf("read own capabilities: %w", err)
	}
	to, root := successor(have, writes)
	excess := have.Without(Needed())
	switch {
	case excess == 0 && to == current():
		return root, nil
	case os.Getenv(confined) != "":
		return root, fmt.Errorf("give up %v: they came back", excess)
	}
	err = tryRestart(to, have&Needed())
	if to != current() && excess != 0 {
		err = errors.Join(err, tryRestart(current(), have&Needed()))
	}
	return root, err
}

// tryRestart returns why restart failed. It leaves the thread behind that it ran on: that may have changed half way.
func tryRestart(u user, keep netns.Capabilities) error {
	failed := make(chan error, 1)
	go netns.OnThread(func() { failed <- restart(u, keep) })
	return <-failed
}

// restart starts the program again as u, with the capabilities in keep.
func restart(u user, keep netns.Capabilities) error {
	for c := range netns.Capability(64) {
		if Needed().Has(c) {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // beyond the kernel's last
		}
		if err != nil {
			return fmt.Errorf("give up %v: %w", c, err)
		}
		// gVisor knows no ambient capabilities: EINVAL.
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_LOWER, uintptr(c), 0, 0); err != nil &&
			!errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("give up %v: %w", c, err)
		}
	}
	root := os.Geteuid() == 0
	if u != current() {
		if err := become(u, keep); err != nil {
			return fmt.Errorf("become user %d: %w", u.id, err)
		}
	}
	// With no_new_privs the kernel ignores capabilities of the binary itself, which is how
	// anybody but root has them.
	if root {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
	}
	return fmt.Errorf("start again with fewer rights: %w",
		unix.Exec("/proc/self/exe", os.Args, append(os.Environ(), confined+"=1")))
}

// become makes the calling thread one of u that has the capabilities in keep, and hands them on over exec.
func become(u user, keep netns.Capabilities) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return err
	}
	for _, call := range [...]struct {
		name string
		nr   uintptr
		args [3]uintptr
	}{
		{"setgroups", unix.SYS_SETGROUPS, [3]uintptr{}}, // none
		{"setresgid", unix.SYS_SETRESGID, [3]uintptr{uintptr(u.group), uintptr(u.group), uintptr(u.group)}},
		{"setresuid", unix.SYS_SETRESUID, [3]uintptr{uintptr(u.id), uintptr(u.id), uintptr(u.id)}},
	} {
		if _, _, errno := unix.RawSyscall(call.nr, call.args[0], call.args[1], call.args[2]); errno != 0 {
			return fmt.Errorf("%s: %w", call.name, errno)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // of 32 capabilities each
	for i := range data {
		set := uint32(keep >> (32 * i))
		data[i] = unix.CapUserData{Effective: set, Permitted: set, Inheritable: set}
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	for c := range netns.Capability(64) {
		if !keep.Has(c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("keep %v: %w", c, err)
		}
	}
	return nil
}
