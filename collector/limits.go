package collector

import "time"

// PortRange is an inclusive range of ports.
type PortRange struct {
	First, Last uint16
}

// Len returns the number of ports in r.
func (r PortRange) Len() int { return int(r.Last) - int(r.First) + 1 }

// Limits are the kernel's own bounds in one network namespace, from /proc/sys.
// A field whose file is absent is zero.
type Limits struct {
	Netns uint64
	// LocalPorts is net.ipv4.ip_local_port_range; Reserved is ip_local_reserved_ports.
	LocalPorts PortRange
	Reserved   []PortRange
	// ReuseTimeWait is how long after its end the kernel gives the local port of a TCP flow to another one to the same
	// destination: tcp_tw_reuse_delay, or 1 s before Linux 6.14, if tcp_tw_reuse is 1 and tcp_timestamps is on; else 0:
	// not before the socket's TIME_WAIT is over. With tcp_tw_reuse=2 that is so for loopback alone.
	ReuseTimeWait time.Duration
	// Entries and EntriesMax are net.netfilter.nf_conntrack_count and _max. EntriesMax is Unlimited where the sysctl is 0,
	// and 0 where conntrack is not loaded.
	Entries, EntriesMax int
	// Events is nf_conntrack_events (0 off, 1 on, 2 auto), -1 where absent.
	Events int
	// Timestamps and Accounting are nf_conntrack_timestamp and _acct.
	Timestamps, Accounting bool
	// Timeouts by file name without the nf_conntrack_ prefix, such as "tcp_timeout_time_wait".
	Timeouts map[string]time.Duration
}

// Unlimited is Limits.EntriesMax of a table without a limit.
const Unlimited = -1

// Counters are the kernel's conntrack statistics of one namespace since boot,
// summed over CPUs: struct ip_conntrack_stat, enum ctattr_stats_cpu.
type Counters struct {
	Netns                                                        uint64
	Entries                                                      uint32
	Found, Invalid, InsertFailed, Drop, EarlyDrop, SearchRestart uint64
	ClashResolve, ChainTooLong                                   uint64
}
