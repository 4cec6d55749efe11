package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// neverHere are those of never, and writingHere those of writing, that not all architectures have.
func neverHere() []uintptr { return []uintptr{unix.SYS_KEXEC_FILE_LOAD} }

func writingHere() []uintptr { return []uintptr{unix.SYS_RENAMEAT} }
