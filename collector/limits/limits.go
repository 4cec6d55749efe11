// Package limits reads the kernel's own bounds in one network namespace from
// /proc/sys: the local port range, the size of the conntrack table, its
// timeouts, and what conntrack is told to record.
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
	var (
		l    = collector.Limits{Events: -1}
		errs []error
	)
	get := func(file string, set func(string) error) {
		b, err := fs.ReadFile(sys, file)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil { // names the file
			errs = append(errs, err)
			return
		}
		value := strings.TrimSpace(string(b))
		if err := set(value); err != nil {
			errs = append(errs, fmt.Errorf("parse %s %q: %w", file, value, err))
		}
	}
	get(fileLocalPorts, func(s string) (err error) { l.LocalPorts, err = parsePortRange(s); return err })
	get(fileReserved, func(s string) (err error) { l.Reserved, err = parseReserved(s); return err })
	var reuse, stamps int
	delay := time.Second
	get(fileReuse, func(s string) (err error) { reuse, err = parseCount(s); return err })
	get(fileTCPStamps, func(s string) (err error) { stamps, err = parseCount(s); return err })
	get(fileReuseDelay, func(s string) error {
		ms, err := parseCount(s)
		if err == nil {
			delay = min(max(time.Duration(ms)*time.Millisecond, time.Millisecond), time.Minute)
		}
		return err
	})
	if reuse == 1 && stamps > 0 {
		l.ReuseTimeWait = delay
	}
	get(fileEntries, func(s string) (err error) { l.Entries, err = parseCount(s); return err })
	get(fileEntriesMax, func(s string) error {
		most, err := parseCount(s)
		if err == nil && most == 0 {
			most = collector.Unlimited
		}
		l.EntriesMax = most
		return err
	})
	get(fileTimestamps, func(s string) (err error) { l.Timestamps, err = parseSwitch(s); return err })
	get(fileAccounting, func(s string) (err error) { l.Accounting, err = parseSwitch(s); return err })
	get(fileEvents, func(s string) error {
		mode, err := parseEvents(s)
		if err == nil {
			l.Events = mode
		}
		return err
	})

	entries, err := fs.ReadDir(sys, dirConntrack)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), prefix)
		if !ok || !strings.Contains(name, "timeout") {
			continue
		}
		get(dirConntrack+"/"+e.Name(), func(s string) error {
			d, err := parseSeconds(s)
			if err != nil {
				return err
			}
			if l.Timeouts == nil {
				l.Timeouts = make(map[string]time.Duration, len(entries))
			}
			l.Timeouts[name] = d
			return nil
		})
	}
	return l, errors.Join(errs...)
}
