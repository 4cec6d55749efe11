package confine

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// never are system calls that the agent never makes: they start programs, read or change other processes, or change the
// machine. calls of the architecture come on top.
func never() []uintptr {
	return append([]uintptr{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT,
		unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE,
		unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE,
		unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_UNSHARE,
		unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_KEXEC_LOAD, unix.SYS_REBOOT,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_FANOTIFY_INIT,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG, unix.SYS_VHANGUP,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_CLOCK_ADJTIME, unix.SYS_ADJTIMEX,
		unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME, unix.SYS_PERSONALITY,
		unix.SYS_SETUID, unix.SYS_SETGID, unix.SYS_SETREUID, unix.SYS_SETREGID, unix.SYS_SETRESUID, unix.SYS_SETRESGID,
		unix.SYS_SETFSUID, unix.SYS_SETFSGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET,
		unix.SYS_MKNODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT,
		unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR,
		unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
		unix.SYS_OPENAT2, // its flags are out of sight of a filter
	}, neverHere()...)
}

// writing are the system calls that change files, and that the agent makes for its state file and its record alone.
func writing() []uintptr {
	return append([]uintptr{
		unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT2, unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2,
		unix.SYS_TRUNCATE, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_UTIMENSAT,
	}, writingHere()...)
}

// Offsets in struct seccomp_data, include/uapi/linux/seccomp.h.
const (
	dataNumber = 0
	dataArch   = 4
	dataArgs   = 16
	dataArg    = 8 // of one; its low half comes first
)

// numbersEnd is beyond all calls that were known when this was written (Linux 6.12). Architectures agree on the last of
// them. The x32 calls of amd64 lie beyond too.
const numbersEnd = 463

// The answers of a filter: SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with an errno. A caller of clone3 or of a new call
// does without where that does not exist.
const (
	allow  = unix.SECCOMP_RET_ALLOW
	refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	absent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// filter returns the program that answers each system call. writes allows those that change files.
func filter(writes bool) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	// skip goes on behind the next instructions, so many of them, unless the test holds.
	skip := func(test uint16, k uint32, instructions uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | test | unix.BPF_K, K: k, Jf: instructions}
	}
	program := []unix.SockFilter{
		load(dataArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: auditArch, Jt: 1},
		answer(refuse), // another set of numbers
		load(dataNumber),
		skip(unix.BPF_JGE, numbersEnd, 1),
		answer(absent),
	}
	is := func(nr uintptr, then ...unix.SockFilter) {
		program = append(program, skip(unix.BPF_JEQ, uint32(nr), uint8(len(then))))
		program = append(program, then...)
	}
	refused := never()
	if !writes {
		refused = append(refused, writing()...)
		const write = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC
		is(unix.SYS_OPENAT, load(dataArgs+2*dataArg), skip(unix.BPF_JSET, write, 1), answer(refuse), answer(allow))
	}
	// A new thread, but no new process; another network namespace, but no other kind.
	is(unix.SYS_CLONE, load(dataArgs), skip(unix.BPF_JSET, unix.CLONE_THREAD, 1), answer(allow), answer(refuse))
	is(unix.SYS_CLONE3, answer(absent))
	is(unix.SYS_SETNS, load(dataArgs+dataArg), skip(unix.BPF_JEQ, unix.CLONE_NEWNET, 1), answer(allow), answer(refuse))
	for _, nr := range refused {
		is(nr, answer(refuse))
	}
	return append(program, answer(allow))
}

// deny refuses those system calls on every thread, for good: EPERM. kept says why it does not, and is empty if it does.
// Where somebody has filtered the process already, as systemd and container runtimes do, it leaves that filter alone:
// to add one is a system call too, for which systemd's SystemCallFilter ends the process.
func deny(writes bool) (kept string, err error) {
	if auditArch == 0 {
		return "no filter is written for " + runtime.GOARCH, nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch mode, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); {
	case err != nil:
		return "the kernel does not filter them", nil //nolint:nilerr // it is built without
	case mode != unix.SECCOMP_MODE_DISABLED:
		return "", nil
	}
	// Whoever is not root must not gain rights by exec to set a filter. The kernel copies this to the other threads.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fmt.Errorf("set no_new_privs: %w", err)
	}
	program := filter(writes)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// Without SPEC_ALLOW kernels before 5.16 slow the whole process down.
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
		uintptr(unsafe.Pointer(&prog))) //nolint:gosec // as the kernel wants it
	switch {
	case errno == unix.ENOSYS || errno == unix.EINVAL:
		return "the kernel does not filter them", nil
	case errno != 0:
		return "", fmt.Errorf("filter system calls: %w", errno)
	case thread != 0:
		return "", errors.New("filter system calls: a thread has a filter of its own")
	}
	return "", nil
}
