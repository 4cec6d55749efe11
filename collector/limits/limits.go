// Package limits reads the kernel's own bounds in one network namespace from
// /proc/sys: the local port range, the size of the conntrack table, its
// timeouts, and what conntrack is set to record.
package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Files below /proc/sys: Documentation/networking/ip-sysctl.rst and
// nf_conntrack-sysctl.rst (Linux 6.18).
const (
	fileLocalPorts = "net/ipv4/ip_local_port_range"
	fileReserved   = "net/ipv4/ip_local_reserved_ports"
	fileReuse      = "net/ipv4/tcp_tw_reuse"
	fileReuseDelay = "net/ipv4/tcp_tw_reuse_delay"
	fileTCPStamps  = "net/ipv4/tcp_timestamps"
	dirConntrack   = "net/netfilter"
	prefix         = "nf_conntrack_"
	fileEntries    = dirConntrack + "/" + prefix + "count"
	fileEntriesMax = dirConntrack + "/" + prefix + "max"
	fileEvents     = dirConntrack + "/" + prefix + "events"
	fileTimestamps = dirConntrack + "/" + prefix + "timestamp"
	fileAccounting = dirConntrack + "/" + prefix + "acct"
)

// Of returns the limits of ns. It needs what entering ns needs, nothing for the
// caller's own.
func Of(ns *netns.Handle) (collector.Limits, error) {
	r := NewReader(ns)
	defer r.Close()
	return r.read()
}

// Read returns the limits that sys shows, a file system rooted at /proc/sys. What
// /proc/sys shows below net depends on the namespace of the thread that opens a
// file; Read does not know it and leaves Netns zero.
//
// A file that is absent leaves its field zero, Events -1. Each file that cannot be read
// or parsed adds one error that names it; the other fields are set all the same.
func Read(sys fs.FS) (collector.Limits, error) {
	r := reading{sys: sys, l: collector.Limits{Events: -1}}
	r.ports()
	r.conntrack()
	r.timeouts()
	return r.l, errors.Join(r.errs...)
}

// reading reads limits file by file.
type reading struct {
	sys  fs.FS
	l    collector.Limits
	errs []error
}

// get gives the content of a file to set, if there is such a file.
func (r *reading) get(file string, set func(string) error) {
	b, err := fs.ReadFile(r.sys, file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil { // names the file
		r.errs = append(r.errs, err)
		return
	}
	value := strings.TrimSpace(string(b))
	if err := set(value); err != nil {
		r.errs = append(r.errs, fmt.Errorf("parse %s %q: %w", file, value, err))
	}
}

// ports reads which local ports there are, and when one in TIME_WAIT is used again.
func (r *reading) ports() {
	l := &r.l
	r.get(fileLocalPorts, func(s string) (err error) { l.LocalPorts, err = parsePortRange(s); return err })
	r.get(fileReserved, func(s string) (err error) { l.Reserved, err = parseReserved(s); return err })
	var reuse, stamps int
	delay := time.Second
	r.get(fileReuse, func(s string) (err error) { reuse, err = parseCount(s); return err })
	r.get(fileTCPStamps, func(s string) (err error) { stamps, err = parseCount(s); return err })
	r.get(fileReuseDelay, func(s string) error {
		ms, err := parseCount(s)
		if err == nil {
			delay = min(max(time.Duration(ms)*time.Millisecond, time.Millisecond), time.Minute)
		}
		return err
	})
	if reuse == 1 && stamps > 0 {
		l.ReuseTimeWait = delay
	}
}

// conntrack reads how large conntrack's table is, and what it is set to record.
func (r *reading) conntrack() {
	l := &r.l
	r.get(fileEntries, func(s string) (err error) { l.Entries, err = parseCount(s); return err })
	r.get(fileEntriesMax, func(s string) error {
		most, err := parseCount(s)
		if err == nil && most == 0 {
			most = collector.Unlimited
		}
		l.EntriesMax = most
		return err
	})
	r.get(fileTimestamps, func(s string) (err error) { l.Timestamps, err = parseSwitch(s); return err })
	r.get(fileAccounting, func(s string) (err error) { l.Accounting, err = parseSwitch(s); return err })
	r.get(fileEvents, func(s string) error {
		mode, err := parseEvents(s)
		if err == nil {
			l.Events = mode
		}
		return err
	})
}

// timeouts reads conntrack's timeouts.
func (r *reading) timeouts() {
	entries, err := fs.ReadDir(r.sys, dirConntrack)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.errs = append(r.errs, err)
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || !strings.Contains(name, "timeout") {
			continue
		}
		r.get(dirConntrack+"/"+e.Name(), func(s string) error {
			d, err := parseSeconds(s)
			if err != nil {
				return err
			}
			if r.l.Timeouts == nil {
				r.l.Timeouts = make(map[string]time.Duration, len(entries))
			}
			r.l.Timeouts[name] = d
			return nil
		})
	}
}
