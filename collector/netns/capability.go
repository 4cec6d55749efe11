package netns

import (
	"fmt"
	"math/bits"
	"strings"

	"golang.org/x/sys/unix"
)

// Capability is a capability number: include/uapi/linux/capability.h.
type Capability uint8

// The capabilities that seeing flows may need.
const (
	DACReadSearch Capability = unix.CAP_DAC_READ_SEARCH // list /proc/PID/fd of others
	NetAdmin      Capability = unix.CAP_NET_ADMIN       // conntrack, large receive buffers
	SysPtrace     Capability = unix.CAP_SYS_PTRACE      // open /proc/PID/ns/net of others
	SysAdmin      Capability = unix.CAP_SYS_ADMIN       // enter another namespace
)

// Names up to CAP_CHECKPOINT_RESTORE (40), Linux 6.18; the kernel's order.
const capabilityNames = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID " +
	"SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER " +
	"SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE " +
	"SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP " +
	"MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"

// String returns the name as capabilities(7) writes it, such as CAP_NET_ADMIN.
func (c Capability) String() string {
	if names := strings.Fields(capabilityNames); int(c) < len(names) {
		return "CAP_" + names[c]
	}
	return fmt.Sprintf("CAP_%d", uint8(c))
}

// Capabilities is a set of them.
type Capabilities uint64

// Has reports whether c is in the set.
func (s Capabilities) Has(c Capability) bool { return s>>c&1 == 1 }

// With returns the set with c in it.
func (s Capabilities) With(c Capability) Capabilities { return s | 1<<c }

// Without returns what is in s and not in t.
func (s Capabilities) Without(t Capabilities) Capabilities { return s &^ t }

// String returns the names in the kernel's order, "none" for the empty set.
func (s Capabilities) String() string {
	if s == 0 {
		return "none"
	}
	var names []string
	for rest := uint64(s); rest != 0; rest &= rest - 1 {
		names = append(names, Capability(bits.TrailingZeros64(rest)).String())
	}
	return strings.Join(names, " ")
}

// Effective returns the effective capabilities of the calling thread. It asks in one system
// call: the thread may end before a second one.
func Effective() (Capabilities, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // of 32 capabilities each
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("capget: %w", err)
	}
	return Capabilities(data[0].Effective) | Capabilities(data[1].Effective)<<32, nil
}

// AccessError says what could not be seen or done, and what would help.
type AccessError struct {
	// What was refused, as a verb and its object.
	What string
	// Hidden is how many times, where it is a count.
	Hidden int
	// Missing are the capabilities that it takes and this process lacks. None are missing when the
	// kernel refused for another reason: a user namespace above ours, or a security module.
	Missing Capabilities

	err error
}

// denied makes the error of an action that takes need.
func denied(what string, hidden int, need Capabilities, err error) *AccessError {
	have, effErr := Effective()
	if effErr != nil {
		have = 0
	}
	return &AccessError{What: what, Hidden: hidden, Missing: need.Without(have), err: err}
}

// Error reads "cannot see ... (12): needs CAP_SYS_PTRACE".
func (e *AccessError) Error() string {
	var b strings.Builder
	b.WriteString("cannot " + e.What)
	if e.Hidden > 0 {
		fmt.Fprintf(&b, " (%d)", e.Hidden)
	}
	if e.Missing != 0 {
		return b.String() + ": needs " + e.Missing.String()
	}
	return b.String() + ": refused though no capability is missing (another user namespace or a security module)"
}

// Remedy says how to give what is missing, empty where nothing is.
func (e *AccessError) Remedy() string {
	if e.Missing == 0 {
		return ""
	}
	full := e.Missing.String()
	short := strings.Fields(strings.ReplaceAll(full, "CAP_", ""))
	return fmt.Sprintf("systemd: AmbientCapabilities=%s; Kubernetes: securityContext.capabilities.add: [%s]; "+
		"Docker: --cap-add %s",
		full, strings.Join(short, ", "), strings.Join(short, " --cap-add "))
}

// Unwrap returns the kernel's error; it matches fs.ErrPermission.
func (e *AccessError) Unwrap() error { return e.err }
