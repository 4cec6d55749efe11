package kerneltest

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns the CPU time, user and system, of who so far: unix.RUSAGE_SELF is this process, unix.RUSAGE_CHILDREN
// its children that ended. Others on the machine disturb it less than the time on the clock.
func CPUTime(t testing.TB, who int) time.Duration {
	t.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ThreadTime returns the CPU time of this thread so far, to the nanosecond.
func ThreadTime(t testing.TB) time.Duration {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Fatal(err)
	}
	return time.Duration(now.Nano())
}
