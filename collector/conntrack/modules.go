package conntrack

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// loaded reports whether a module is loaded, or may be built in. It returns false if the files that say so cannot be
// read.
func loaded(module string) bool {
	if _, err := os.Stat("/sys/module/" + module); err == nil {
		return true
	}
	b := builtIn()
	return b.any || bytes.Contains(b.names, []byte("/"+module+".ko"))
}

// builtInModules are what the running kernel has built in: any if it takes no modules.
type builtInModules struct {
	any   bool
	names []byte // paths, one a line
}

var builtIn = sync.OnceValue(func() (b builtInModules) {
	if _, err := os.Stat("/proc/sys/kernel/osrelease"); err == nil { // the folder is not hidden
		_, err := os.Stat("/proc/sys/kernel/modules_disabled") // it exists if the kernel takes modules
		b.any = errors.Is(err, fs.ErrNotExist)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		release := unix.ByteSliceToString(u.Release[:])
		b.names, _ = os.ReadFile("/lib/modules/" + release + "/modules.builtin") // nil if it cannot be read
	}
	return b
})
