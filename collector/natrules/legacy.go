package natrules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options of getsockopt(2) by which iptables-legacy reads its tables: include/uapi/linux/netfilter_ipv4/ip_tables.h
// and netfilter_ipv6/ip6_tables.h. Asking for a table that is not there makes the kernel set it up, so
// /proc/net/ip_tables_names is read first.
const (
	soGetInfo    = 64 // IPT_SO_GET_INFO, IP6T_SO_GET_INFO
	soGetEntries = 65 // IPT_SO_GET_ENTRIES, IP6T_SO_GET_ENTRIES
	entriesSize  = 40 // struct ipt_get_entries before its entries
	maxTable     = 512 << 20
)

// legacyState is what iptables-legacy has loaded.
type legacyState struct {
	tables   []legacyTable // of NAT
	mangle   []legacyTable // where marks are set
	sums     [4]uint64
	remarks  []string
	problems []string
	changed  bool
}

// drawsMarks returns the bits of marks that rules draw for each new flow, in table nat those alone that stand right in
// a chain that the kernel enters.
func (s *legacyState) drawsMarks() (bits uint32) {
	for k, tables := range [][]legacyTable{s.tables, s.mangle} {
		for i := range tables {
			for hook := range numHooks {
				if c := tables[i].chains[hookName(hook)]; c != nil {
					visits := k * markVisits
					drawn, _ := c.drawsMarks(tables[i].chain, &visits) // a chain that is not there marks nothing
					bits |= drawn
				}
			}
		}
	}
	return bits
}

// legacyFamily is what differs between iptables-legacy and ip6tables-legacy.
type legacyFamily struct {
	family        byte
	domain, level int
	names         string // below /proc
	layout        layout
}

func legacyFamilies() [2]legacyFamily {
	return [2]legacyFamily{
		{unix.NFPROTO_IPV4, unix.AF_INET, unix.SOL_IP, "ip_tables_names", layout4()},
		{unix.NFPROTO_IPV6, unix.AF_INET6, unix.SOL_IPV6, "ip6_tables_names", layout6()},
	}
}

// readLegacy reads the tables of the calling thread's namespace that matter: nat, and mangle beside it.
func readLegacy(before *legacyState, seed maphash.Seed) (s legacyState, err error) {
	for i, f := range legacyFamilies() {
		path := "/proc/thread-self/net/" + f.names
		names, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrPermission):
			s.remarks = append(s.remarks, "iptables-legacy: whether it has NAT rules is not known, for /proc/net/"+f.names+
				" is for root alone: add CAP_DAC_READ_SEARCH, or a budget of model linux with their vips and port_range")
			continue
		case err != nil || !slices.Contains(strings.Fields(string(names)), "nat"):
			continue
		}
		for k, name := range []string{"nat", "mangle"} {
			if !slices.Contains(strings.Fields(string(names)), name) {
				continue
			}
			if err := s.read(&f, name, &s.sums[2*i+k], seed); err != nil {
				return s, err
			}
		}
	}
	s.changed = s.sums != before.sums || !slices.Equal(s.problems, before.problems) ||
		!slices.Equal(s.remarks, before.remarks)
	return s, nil
}

// LegacyTargets hands to found the data of each target of that name in a table of iptables-legacy and ip6tables-legacy,
// in the namespace of the calling thread. If nobody here may read which tables there are, the error wraps
// fs.ErrPermission.
func LegacyTargets(table, name string, found func(data []byte)) error {
	for _, f := range legacyFamilies() {
		names, err := os.ReadFile("/proc/thread-self/net/" + f.names)
		switch {
		case errors.Is(err, fs.ErrPermission):
			return err
		case err != nil || !slices.Contains(strings.Fields(string(names)), table):
			continue
		}
		_, b, err := f.read(table)
		if err != nil {
			return err
		}
		if err := f.layout.targets(b, name, found); err != nil {
			return fmt.Errorf("table %s of iptables-legacy: %w", table, err)
		}
	}
	return nil
}

// read puts one table into s. Its error is of what nobody here may read; another is a problem of s.
func (s *legacyState) read(f *legacyFamily, name string, sum *uint64, seed maphash.Seed) error {
	info, blob, err := f.read(name)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("read iptables-legacy: %w", err)
	}
	var t legacyTable
	if err == nil {
		*sum = f.layout.sum(blob, seed)
		t, err = parseLegacy(f.family, f.layout, name, info, blob)
	}
	switch {
	case err != nil:
		s.problems = append(s.problems, err.Error())
	case name == "nat":
		s.tables = append(s.tables, t)
	default:
		s.mangle = append(s.mangle, t)
	}
	return nil
}

// read copies a table out of the kernel, whole.
func (f *legacyFamily) read(table string) (info, entries []byte, err error) {
	fd, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	for range maxReads {
		info = make([]byte, infoSize)
		copy(info, table)
		if err := getsockopt(fd, f.level, soGetInfo, info); err != nil {
			return nil, nil, fmt.Errorf("ask for the size of table %s: %w", table, err)
		}
		size := binary.NativeEndian.Uint32(info[infoSize-4:])
		if size > maxTable {
			return nil, nil, fmt.Errorf("table %s has %d bytes, more than %d", table, size, maxTable)
		}
		b := make([]byte, entriesSize+int(size))
		copy(b, table)
		binary.NativeEndian.PutUint32(b[32:], size)
		err := getsockopt(fd, f.level, soGetEntries, b)
		switch {
		case errors.Is(err, unix.EAGAIN): // its size is another by now
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("read table %s: %w", table, err)
		}
		return info, b[entriesSize:], nil
	}
	return nil, nil, ErrChanging
}

func getsockopt(fd, level, option int, b []byte) error {
	n := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
