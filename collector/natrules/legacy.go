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
	infoSize     = 32 + 4 + 5*4 + 5*4 + 4 + 4
	entriesSize  = 40 // struct ipt_get_entries before its entries
	maxTable     = 512 << 20
)

// legacyState is what iptables-legacy has loaded.
type legacyState struct {
	tables   []legacyTable
	sums     [2]uint64
	remarks  []string
	problems []string
	changed  bool
}

type legacyTable struct {
	flows  flows
	chains map[string]*chain
}

func (t *legacyTable) chain(name string) (*chain, error) {
	c := t.chains[name]
	if c == nil {
		return nil, errors.New("not there")
	}
	return c, nil
}

// drawsMarks reports whether a rule right in PREROUTING or OUTPUT draws the mark of each new flow.
func (t *legacyTable) drawsMarks() bool {
	for _, hook := range []int{hookPrerouting, hookOutput} {
		if c := t.chains[hookName(hook)]; c != nil {
			if drawn, err := c.drawsMarks(t.chain); drawn || err != nil {
				return drawn
			}
		}
	}
	return false
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

// readLegacy reads the nat tables of the calling thread's namespace.
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
		info, blob, err := f.read()
		if err != nil {
			if errors.Is(err, fs.ErrPermission) {
				return s, fmt.Errorf("read iptables-legacy: %w", err)
			}
			s.problems = append(s.problems, err.Error())
			continue
		}
		s.sums[i] = f.layout.sum(blob, seed)
		t, err := parseLegacy(f.family, f.layout, info, blob)
		if err != nil {
			s.problems = append(s.problems, err.Error())
			continue
		}
		s.tables = append(s.tables, t)
	}
	s.changed = s.sums != before.sums || !slices.Equal(s.problems, before.problems) ||
		!slices.Equal(s.remarks, before.remarks)
	return s, nil
}

// read copies a nat table out of the kernel, whole.
func (f *legacyFamily) read() (info, entries []byte, err error) {
	fd, err := unix.Socket(f.domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = unix.Close(fd) }()
	for range maxReads {
		info = make([]byte, infoSize)
		copy(info, "nat")
		if err := getsockopt(fd, f.level, soGetInfo, info); err != nil {
			return nil, nil, fmt.Errorf("ask for the size of table nat: %w", err)
		}
		size := binary.NativeEndian.Uint32(info[infoSize-4:])
		if size > maxTable {
			return nil, nil, fmt.Errorf("table nat has %d bytes, more than %d", size, maxTable)
		}
		b := make([]byte, entriesSize+int(size))
		copy(b, "nat")
		binary.NativeEndian.PutUint32(b[32:], size)
		err := getsockopt(fd, f.level, soGetEntries, b)
		switch {
		case errors.Is(err, unix.EAGAIN): // its size is another by now
			continue
		case err != nil:
			return nil, nil, fmt.Errorf("read table nat: %w", err)
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
