package conntrack

import (
	"context"

	"github.com/mdlayher/netlink"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// Statistics reads the kernel's conntrack statistics of one namespace, 8 µs a read.
// It is not safe for concurrent use.
type Statistics struct {
	conn *nlraw.Conn
	sum  collector.Counters
	last map[uint16]statistic // by CPU
}

// OpenStatistics opens the statistics of ns, nil for the caller's own namespace. It needs CAP_NET_ADMIN.
func OpenStatistics(ns *netns.Handle) (*Statistics, error) {
	s := &Statistics{last: map[uint16]statistic{}}
	fd := 0
	var err error
	if ns == nil {
		s.sum.Netns, err = netns.Own()
	} else {
		fd, s.sum.Netns = ns.FD(), ns.Inode()
	}
	if err != nil {
		return nil, err
	}
	s.conn, err = dialDetached(fd)
	return s, err
}

// Close closes the socket.
func (s *Statistics) Close() error { return s.conn.Close() }

// Read returns the counters. The kernel's counters are 32 bits wide, one for each CPU; Read makes up for a wrap if
// fewer than 2³² counts lie between two reads. After an error open Statistics again.
func (s *Statistics) Read(ctx context.Context) (collector.Counters, error) {
	entries, err := entries(ctx, s.conn)
	if err != nil {
		return collector.Counters{}, err
	}
	err = s.conn.Dump(ctx, netlink.Message{
		Header: netlink.Header{Type: msgGetStatsCPU},
		Data:   make([]byte, sizeofNfgenmsg),
	}, nil, func(m nlraw.Message) error {
		cpu, now, err := parseStatistic(m.Data)
		if err == nil {
			s.add(cpu, now)
		}
		return err
	})
	if err != nil {
		if ctx.Err() == nil {
			err = kernelError("read conntrack statistics", err)
		}
		return collector.Counters{}, err
	}
	s.sum.Entries = entries
	return s.sum, nil
}

// add adds what a CPU counted since the last read; the first time, since boot.
func (s *Statistics) add(cpu uint16, now statistic) {
	last := s.last[cpu]
	s.last[cpu] = now
	for i, sum := range [...]*uint64{
		statFound: &s.sum.Found, statInvalid: &s.sum.Invalid, statInsertFailed: &s.sum.InsertFailed,
		statDrop: &s.sum.Drop, statEarlyDrop: &s.sum.EarlyDrop, statSearchRestart: &s.sum.SearchRestart,
		statClashResolve: &s.sum.ClashResolve, statChainTooLong: &s.sum.ChainTooLong,
	} {
		*sum += uint64(now[i] - last[i]) // modulo 2³²
	}
}

// statistic is what one CPU counts: struct ip_conntrack_stat, include/linux/netfilter/nf_conntrack_common.h.
type statistic [statistics]uint32

const (
	statFound = iota
	statInvalid
	statInsertFailed
	statDrop
	statEarlyDrop
	statSearchRestart
	statClashResolve
	statChainTooLong
	statistics
)

// parseStatistic reads an IPCTNL_MSG_CT_GET_STATS_CPU answer. A counter that this kernel lacks is 0.
func parseStatistic(b []byte) (cpu uint16, st statistic, err error) {
	if len(b) < sizeofNfgenmsg {
		return 0, statistic{}, &parseError{"nfgenmsg", len(b), "4"}
	}
	cpu, b = uint16(b[2])<<8|uint16(b[3]), b[sizeofNfgenmsg:] // res_id
	attrs := nlraw.Attributes(b)
	for attrs.Next() {
		v := attrs.Value
		switch attr(attrs.Type) {
		case attrStatsFound:
			st[statFound], err = u32(v, "CTA_STATS_FOUND")
		case attrStatsInvalid:
			st[statInvalid], err = u32(v, "CTA_STATS_INVALID")
		case attrStatsInsertFailed:
			st[statInsertFailed], err = u32(v, "CTA_STATS_INSERT_FAILED")
		case attrStatsDrop:
			st[statDrop], err = u32(v, "CTA_STATS_DROP")
		case attrStatsEarlyDrop:
			st[statEarlyDrop], err = u32(v, "CTA_STATS_EARLY_DROP")
		case attrStatsSearchRestart:
			st[statSearchRestart], err = u32(v, "CTA_STATS_SEARCH_RESTART")
		case attrStatsClashResolve:
			st[statClashResolve], err = u32(v, "CTA_STATS_CLASH_RESOLVE")
		case attrStatsChainTooLong:
			st[statChainTooLong], err = u32(v, "CTA_STATS_CHAIN_TOOLONG")
		}
		if err != nil {
			return 0, statistic{}, err
		}
	}
	if attrs.Left() > 0 {
		return 0, statistic{}, &parseError{"attribute", attrs.Left(), "a whole one"}
	}
	return cpu, st, nil
}
