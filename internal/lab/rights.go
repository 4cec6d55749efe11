package lab

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// Missing says which right this process lacks to build a lab, or nil.
func Missing() error {
	have, err := netns.Effective()
	if err != nil {
		return fmt.Errorf("lab: read own capabilities: %w", err)
	}
	return missing(have)
}

func missing(have netns.Capabilities) error {
	var names []string
	for _, c := range []struct {
		capability netns.Capability
		use        string
	}{
		{netns.SysAdmin, "to make network namespaces"},
		{netns.NetAdmin, "to set up links, NAT rules and sysctls in them"},
	} {
		if !have.Has(c.capability) {
			names = append(names, fmt.Sprintf("%v (%s)", c.capability, c.use))
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
