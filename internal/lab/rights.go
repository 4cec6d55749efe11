package lab

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// Missing says which right this process lacks to build a lab, or nil.
func Missing() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	return missing(uint64(data[1].Effective)<<32 | uint64(data[0].Effective))
}

func missing(effective uint64) error {
	var names []string
	for _, c := range []struct {
		bit  uint
		name string
		use  string
	}{
		{unix.CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "to make network namespaces"},
		{unix.CAP_NET_ADMIN, "CAP_NET_ADMIN", "to set up links, NAT rules and sysctls in them"},
	} {
		if effective&(1<<c.bit) == 0 {
			names = append(names, c.name+" ("+c.use+")")
		}
	}
	if len(names) == 0 {
		return nil
	}
	return errors.New("lab: missing " + strings.Join(names, " and ") + "; run it as root")
}

// needFiles raises the limit of open files to n, or says how far it can go.
func needFiles(n uint64) error {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	if r.Cur >= n {
		return nil
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: max(n, r.Max)}); err != nil {
		return fmt.Errorf("lab: needs %d open files, the limit is %d (ulimit -n): %w", n, r.Max, err)
	}
	return nil
}
