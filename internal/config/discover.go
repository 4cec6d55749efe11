package config

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/limits"
	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Discover asks the machine what the configuration leaves open; flows leave it in outer. What cannot
// be found out is a note of the Machine; a namespace, a pool size or a place for the state file that
// is configured and not there is an error, returned as Errors, but for namespaces and pool sizes that were
// there before.
func Discover(ctx context.Context, c *Config, outer *netns.Handle, before Machine,
	metadata cloud.Client,
) (Machine, error) {
	m := Machine{Nodes: map[string]int{}, NodesUnread: map[string]error{}}
	errs := c.checkStateFile()
	var unread map[string]error
	m.Netns, m.NetnsLimits, unread = c.ReadNetns(before.Netns)
	for i := range c.Budgets {
		b, path := &c.Budgets[i], fmt.Sprintf("budgets[%d]", i)
		if err := unread[b.Netns]; err != nil && before.Netns[b.Netns] == 0 {
			errs = append(errs, c.at.errorAt(path+".netns", b.Netns, fmt.Sprintf("a network namespace that is there: %v", err)))
			continue
		}
		if p, from := b.PoolSource(), b.PoolSource().String(); from != "" {
			switch n, err := p.Size(ctx, before.CountNodes); {
			case err == nil:
				m.Nodes[from] = n
			case before.Nodes[from] != 0:
				m.Nodes[from], m.NodesUnread[from] = before.Nodes[from], err
			case b.Nodes == 0:
				errs = append(errs, c.at.errorAt(path+"."+p.key(), p.value(), fmt.Sprintf("%s, or nodes to start with: %v",
					p.want(), err)))
			default:
				m.NodesUnread[from] = err
			}
		}
	}
	if len(errs) > 0 {
		return m, errs
	}
	var err error
	if m.Limits, err = limits.Of(outer); err != nil {
		m.Notes = append(m.Notes, fmt.Sprintf("limits: %v", err))
	}
	m.Addresses = OwnAddresses(outer, before.Addresses)
	m.EvictsTimeWait = evictsTimeWait()
	m.Readers, m.CountNodes = before.Readers, before.CountNodes
	m.Notes = append(m.Notes, m.ReadRules(ctx, c, outer)...)
	if c.WantsCloud() {
		m.Cloud = before.Cloud
		m.AskCloud(ctx, metadata)
	}
	return m, nil
}

// OwnAddresses returns the addresses of network namespace h, in order; before, if they cannot be read.
func OwnAddresses(h *netns.Handle, before []netip.Addr) (own []netip.Addr) {
	var list []net.Addr
	if err := h.Do(func() (err error) { list, err = net.InterfaceAddrs(); return err }); err != nil {
		return before
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr().Unmap())
		}
	}
	slices.SortFunc(own, netip.Addr.Compare)
	return slices.Compact(own)
}

// AskCloud puts into m what the cloud says now. What it said before stands where it says nothing. Who refuses and
// never said anything is taken for something else that has its address.
func (m *Machine) AskCloud(ctx context.Context, metadata cloud.Client) {
	said, err := metadata.Ask(ctx)
	known := m.Cloud.Provider != "" || said.Provider != ""
	switch {
	case err == nil && said.Provider != "":
		m.Cloud, m.CloudUnread = said, nil
	case err != nil && (known || !errors.Is(err, cloud.ErrRefused)):
		m.CloudUnread = err
		if m.Cloud.Provider == "" {
			m.Cloud = said
		}
	}
}

// ReadRules puts the NAT rules into m that budgets are made of or compared with. It returns why some cannot be
// read, which stay what they were.
func (m *Machine) ReadRules(ctx context.Context, c *Config, outer *netns.Handle) (texts []string) {
	if c.wantsRules() {
		s, err := m.Readers.Read(ctx, "", outer)
		if err == nil {
			m.Rules, m.RulesUnread = s, false
		} else {
			m.RulesUnread = !m.Rules.Read
			texts = append(texts, unreadText(err, "this machine", outer != nil && !outer.Governed()))
		}
	}
	read := maps.Clone(m.NetnsRules)
	if read == nil {
		read = map[string]natrules.Ruleset{}
	}
	done := map[string]bool{"": true}
	for i := range c.Budgets {
		b := &c.Budgets[i]
		if done[b.Netns] || !b.followsRules() {
			continue
		}
		done[b.Netns] = true
		s, err := m.readRulesOf(ctx, b.Netns)
		if err != nil {
			texts = append(texts, unreadText(err, "network namespace "+b.Netns, false))
			continue
		}
		read[b.Netns] = s
	}
	m.NetnsRules = read
	return texts
}

func (m *Machine) readRulesOf(ctx context.Context, name string) (natrules.Ruleset, error) {
	ns, err := OpenNetns(name)
	if err != nil {
		return natrules.Ruleset{}, err
	}
	defer func() { _ = ns.Close() }()
	return m.Readers.Read(ctx, name, ns)
}

// unreadText says why the rules of a place cannot be read; foreign is that its namespace is not Governed.
func unreadText(err error, place string, foreign bool) string {
	if foreign && errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("the NAT rules of %s cannot be read, so their ports and VIPs are not known: %s", place,
			netns.Foreign)
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("missing CAP_NET_ADMIN: the NAT rules of %s cannot be read, "+
			"so their ports and VIPs are not known", place)
	}
	return fmt.Sprintf("NAT rules of %s: %v", place, err)
}

// checkStateFile finds what would keep the state file from being read and written.
func (c *Config) checkStateFile() Errors {
	if c.StateFile == "" {
		return nil
	}
	err := regular(c.StateFile)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.ReadDir(filepath.Dir(c.StateFile))
	}
	if err == nil || errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return Errors{c.at.errorAt("state_file", c.StateFile,
		fmt.Sprintf("a regular file, or none yet in a directory that is there: %v", err))}
}

// OpenNetns opens a namespace by its name below /run/netns or by path; empty is the
// process's own.
func OpenNetns(name string) (*netns.Handle, error) {
	switch {
	case name == "":
		return netns.Self()
	case strings.Contains(name, "/"):
		return netns.Open(name)
	}
	return netns.Open(filepath.Join("/run/netns", name))
}

// OpenOuter opens the namespace in which flows leave the machine. Its error is of Errors.
func (c *Config) OpenOuter() (*netns.Handle, error) {
	outer, err := OpenNetns(c.Netns)
	if err != nil {
		return nil, Errors{c.at.errorAt("netns", c.Netns, fmt.Sprintf("a network namespace that is there: %v", err))}
	}
	return outer, nil
}

// ReadNetns returns the inode numbers of the namespaces that budgets name, and why one cannot be opened. That one has
// the number of before, or where nothing is there a number of its own that no namespace has: the kernel gives the one
// that it had to the next namespace. The limits are by inode number, of those that could be entered.
func (c *Config) ReadNetns(before map[string]uint64) (
	inodes map[string]uint64, bounds map[uint64]collector.Limits, unread map[string]error,
) {
	inodes, bounds, unread = map[string]uint64{}, map[uint64]collector.Limits{}, map[string]error{}
	for i, b := range c.Budgets {
		if b.Netns == "" || unread[b.Netns] != nil {
			continue
		}
		ns, err := OpenNetns(b.Netns)
		if err == nil {
			inodes[b.Netns] = ns.Inode()
			if l, err := limits.Of(ns); err == nil {
				bounds[ns.Inode()] = l
			}
			_ = ns.Close()
			continue
		}
		unread[b.Netns] = err
		if was := before[b.Netns]; was != 0 {
			inodes[b.Netns] = was
		}
		if errors.Is(err, netns.ErrGone) {
			inodes[b.Netns] = math.MaxUint64 - uint64(i)
		}
	}
	return inodes, bounds, unread
}

func evictsTimeWait() bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	evicts, _ := limits.EvictsClosed(unix.ByteSliceToString(u.Release[:]))
	return evicts
}
