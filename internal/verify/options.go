package verify

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of what may be asked.
const (
	// LimitMost is more than any NAT gives one node to one destination.
	LimitMost = 1 << 20
	// RateMost is what a NAT takes without losing packets for other reasons than ports.
	RateMost = 1000
)

// Options say what Run does. Target and Limit have no default.
type Options struct {
	// Target is the address and port to open flows to.
	Target netip.AddrPort
	// Limit is how many flows are opened at most, failed ones included.
	Limit int
	// Rate is how many flows are opened each second, 1 to RateMost; 0 means 50.
	Rate int
	// Timeout is how long a flow may take to open; 0 means 10 s, three SYNs of Linux.
	Timeout time.Duration
	// Hold is how long all flows stay open after the last one was opened; 0 means 5 s.
	Hold time.Duration
	// Pending is how many flows may wait for an answer before no more are opened; 0 means 50.
	Pending int
	// StopAfter is how many flows in a row must fail for the test to stop; 0 means 50.
	StopAfter int
	// HeldBefore is how many ports this node already held to the target before the test. They
	// count towards the budget. 0 where unknown.
	HeldBefore int
	// CoolingBefore of them were cooling down: nobody knows how many of these came free during the test.
	CoolingBefore int
	// Socket makes a non-blocking TCP socket; nil means in the network namespace of the caller.
	Socket func(family int) (fd int, err error)
	// Progress, where set, is called once a second and at the end.
	Progress func(Progress)
}

// Progress is how far a test is.
type Progress struct {
	Attempted, Open, Opening, Failed int
	// Doing is "opening", "holding" or "released".
	Doing string
}

// complete fills in the defaults, or says what is wrong.
func (o *Options) complete() error {
	switch a := o.Target.Addr(); {
	case !o.Target.IsValid():
		return errors.New("no target: name the address and port of a server that you own")
	case o.Target.Port() == 0:
		return fmt.Errorf("target %v: no port", o.Target)
	case a.IsUnspecified(), a.IsMulticast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("target %v: not the address of one server", o.Target)
	}
	o.Target = netip.AddrPortFrom(o.Target.Addr().Unmap(), o.Target.Port())
	if o.Limit == 0 {
		return errors.New("no limit: say how many flows to open at most")
	}
	for _, c := range []struct {
		name             string
		value            *int
		fallback, most   int
		valueMayBeAbsent bool
	}{
		{"limit", &o.Limit, 0, LimitMost, false},
		{"rate", &o.Rate, 50, RateMost, true},
		{"pending", &o.Pending, 50, LimitMost, true},
		{"stop after", &o.StopAfter, 50, LimitMost, true},
	} {
		if c.valueMayBeAbsent && *c.value == 0 {
			*c.value = c.fallback
		}
		if *c.value < 1 || *c.value > c.most {
			return fmt.Errorf("%s %d: want 1 to %d", c.name, *c.value, c.most)
		}
	}
	if o.CoolingBefore < 0 || o.HeldBefore < o.CoolingBefore {
		return fmt.Errorf("held before %d, cooling %d of them: want 0 or more", o.HeldBefore, o.CoolingBefore)
	}
	for _, c := range []struct {
		name     string
		value    *time.Duration
		fallback time.Duration
	}{{"timeout", &o.Timeout, 10 * time.Second}, {"hold", &o.Hold, 5 * time.Second}} {
		if *c.value == 0 {
			*c.value = c.fallback
		}
		if *c.value < 0 || *c.value > time.Hour {
			return fmt.Errorf("%s %v: want more than 0, and at most an hour", c.name, *c.value)
		}
	}
	if o.Socket == nil {
		o.Socket = func(family int) (int, error) {
			return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		}
	}
	return nil
}

// spareFiles are the open files that a process needs beside the flows.
const spareFiles = 64

// checkFiles refuses a limit that would end for want of file descriptors instead of ports.
func checkFiles(limit int) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	if need := uint64(limit) + spareFiles; r.Cur < need {
		return fmt.Errorf("limit %d: needs %d open files, this process may have %d (ulimit -n)", limit, need, r.Cur)
	}
	return nil
}
