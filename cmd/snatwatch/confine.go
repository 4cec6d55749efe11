package main

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// needed are the capabilities that the agent keeps where it has them: the four that
// seeing flows may take, and one to listen below port 1024.
func needed() netns.Capabilities {
	return netns.Capabilities(0).With(netns.NetAdmin).With(netns.SysPtrace).With(netns.SysAdmin).
		With(netns.DACReadSearch).With(netns.Capability(unix.CAP_NET_BIND_SERVICE))
}

// confine gives up all other capabilities, for good and on every thread: what a
// root agent cannot do any more, nobody who takes it over can.
func confine() error {
	have, err := netns.Effective()
	if err != nil {
		return fmt.Errorf("read own capabilities: %w", err)
	}
	keep := uint64(have) & uint64(needed())
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(keep), Permitted: uint32(keep)},
		{Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return fmt.Errorf("give up capabilities: %w", errno)
	}
	return nil
}
