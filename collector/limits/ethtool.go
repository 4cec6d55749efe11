package limits

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// Names of statistics of the driver ena: docs.aws.amazon.com,
// AWSEC2/latest/UserGuide/monitoring-network-performance-ena.
const (
	allowanceAvailable = "conntrack_allowance_available"
	allowanceExceeded  = "conntrack_allowance_exceeded"
)

// Allowance is what EC2 itself tracks for one interface of an instance, whatever NAT there is: beyond its allowance
// packets of new connections are dropped.
type Allowance struct {
	Interface string
	// Available is how many more connections may be tracked; Known says that the driver tells it (2.8.1 and later).
	Available uint64
	Known     bool
	// Exceeded counts packets dropped for want of it since the driver was loaded.
	Exceeded uint64
}

// gstringLen is ETH_GSTRING_LEN: bytes of a name.
const gstringLen = 32

// ethtoolMax bounds the statistics of one interface.
const ethtoolMax = 1 << 14

// Allowances reads the allowance of each interface of a namespace whose driver shows one.
func Allowances(ns *netns.Handle) (list []Allowance, err error) {
	err = ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		interfaces, err := net.Interfaces()
		if err != nil {
			return fmt.Errorf("list interfaces: %w", err)
		}
		for _, i := range interfaces {
			info, err := unix.IoctlGetEthtoolDrvinfo(fd, i.Name)
			if err != nil || unix.ByteSliceToString(info.Driver[:]) != "ena" {
				continue
			}
			values, err := statistics(fd, i.Name)
			if err != nil {
				return fmt.Errorf("statistics of %s: %w", i.Name, err)
			}
			if a, ok := allowanceOf(i.Name, values); ok {
				list = append(list, a)
			}
		}
		return nil
	})
	return list, err
}

// allowanceOf picks an allowance out of the statistics of an interface; ok is false where there is none.
func allowanceOf(name string, values map[string]uint64) (a Allowance, ok bool) {
	a.Interface = name
	a.Exceeded, ok = values[allowanceExceeded]
	a.Available, a.Known = values[allowanceAvailable]
	return a, ok || a.Known
}

// statistics reads what ethtool -S shows, by name: ETHTOOL_GSSET_INFO says how many there are, ETHTOOL_GSTRINGS what
// they are called, ETHTOOL_GSTATS what they are (include/uapi/linux/ethtool.h).
func statistics(fd int, name string) (map[string]uint64, error) {
	const set = 1 // ETH_SS_STATS
	info := make([]byte, 4+4+8+4)
	binary.NativeEndian.PutUint32(info, unix.ETHTOOL_GSSET_INFO)
	binary.NativeEndian.PutUint64(info[8:], 1<<set)
	if err := ethtool(fd, name, info); err != nil {
		return nil, err
	}
	if binary.NativeEndian.Uint64(info[8:]) == 0 { // the driver has none
		return nil, nil
	}
	n := int(binary.NativeEndian.Uint32(info[16:]))
	if n > ethtoolMax {
		return nil, fmt.Errorf("%d statistics, more than %d", n, ethtoolMax)
	}
	texts := make([]byte, 12+n*gstringLen)
	binary.NativeEndian.PutUint32(texts, unix.ETHTOOL_GSTRINGS)
	binary.NativeEndian.PutUint32(texts[4:], set)
	binary.NativeEndian.PutUint32(texts[8:], uint32(n))
	if err := ethtool(fd, name, texts); err != nil {
		return nil, err
	}
	numbers := make([]byte, 8+n*8)
	binary.NativeEndian.PutUint32(numbers, unix.ETHTOOL_GSTATS)
	binary.NativeEndian.PutUint32(numbers[4:], uint32(n))
	if err := ethtool(fd, name, numbers); err != nil {
		return nil, err
	}
	if int(binary.NativeEndian.Uint32(texts[8:])) != n || int(binary.NativeEndian.Uint32(numbers[4:])) != n {
		return nil, errors.New("they changed while they were read")
	}
	values := map[string]uint64{}
	for i := range n {
		text, _, _ := bytes.Cut(texts[12+i*gstringLen:][:gstringLen], []byte{0})
		values[string(text)] = binary.NativeEndian.Uint64(numbers[8+i*8:])
	}
	return values, nil
}

// ethtool asks by ioctl(2); the answer takes the place of the question in b.
func ethtool(fd int, name string, b []byte) error {
	// struct ifreq: the name, and where the question is (include/uapi/linux/if.h).
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	req.data = unsafe.Pointer(unsafe.SliceData(b))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(b)
	if errno != 0 {
		return errno
	}
	return nil
}
