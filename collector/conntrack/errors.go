package conntrack

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Why conntrack cannot be read. Errors of this package wrap one of them, and what
// the kernel said, where it is the cause.
var (
	// ErrPermission: CAP_NET_ADMIN in the user namespace that owns the network namespace is missing.
	ErrPermission = errors.New("missing CAP_NET_ADMIN")
	// ErrNoConntrack: nf_conntrack_netlink is neither loaded nor built in.
	ErrNoConntrack = errors.New("conntrack is not available: load the modules nf_conntrack and nf_conntrack_netlink")
	// ErrEventsOff: the kernel sends no events in this namespace.
	ErrEventsOff = errors.New("conntrack events are off: set net.netfilter.nf_conntrack_events to 1 or 2")
	// ErrEventsMasked: rules keep events of some flows back, so that they could open and end unseen.
	ErrEventsMasked = errors.New("rules keep conntrack events back: put new, related and destroy among the events " +
		"that they let pass (nft: ct event set, iptables: -j CT --ctevents)")
	// ErrMasksUnread: rules of iptables-legacy may do so, and cannot be read.
	ErrMasksUnread = errors.New("whether rules of iptables-legacy keep conntrack events back is not known, for " +
		"/proc/net/ip_tables_names is for root alone: add CAP_DAC_READ_SEARCH")
	// ErrGone: the namespace vanished; the source has emitted an empty dump of it.
	ErrGone = errors.New("network namespace is gone")
)

// kernelError says which of the named errors err comes from.
func kernelError(do string, err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case unix.EPERM, unix.EACCES:
			return fmt.Errorf("%s: %w: %w", do, ErrPermission, err)
		case unix.EPROTONOSUPPORT, unix.EAFNOSUPPORT, unix.EINVAL, unix.EOPNOTSUPP:
			// No NETLINK_NETFILTER, or a subsystem that nfnetlink does not know.
			return fmt.Errorf("%s: %w: %w", do, ErrNoConntrack, err)
		}
	}
	return fmt.Errorf("%s: %w", do, err)
}
