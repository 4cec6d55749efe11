package conntrack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

var compareMessages = cmp.Options{
	cmp.AllowUnexported(message{}, tuple{}),
	cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
}

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// What the kernel wrote, byte by byte; ephemeral ports, ids and stamps are those of the capture.
func TestParseCaptured(t *testing.T) {
	t.Parallel()
	want := map[string]struct {
		tcp                 tcpState
		reply               string // where the answer comes from
		proto               collector.Protocol
		nat, timeout, event bool
		start, stop, helper bool
		zone                uint16
	}{
		"dump-tcp80":           {tcp: tcpEstablished, reply: "127.0.0.3:80", proto: 6, timeout: true, start: true},
		"dump-tcp80-nat":       {tcp: tcpEstablished, reply: "127.0.0.2:80", proto: 6, nat: true, timeout: true, start: true},
		"dump-tcp80-v6":        {tcp: tcpEstablished, reply: "[::1]:80", proto: 6, timeout: true, start: true},
		"dump-tcp21-helper":    {tcp: tcpEstablished, reply: "127.0.0.3:21", proto: 6, timeout: true, start: true, helper: true},
		"dump-udp53-nat":       {reply: "127.0.0.2:53", proto: 17, nat: true, timeout: true, start: true},
		"dump-udp53-v6":        {reply: "[::1]:53", proto: 17, timeout: true, start: true},
		"dump-udp5353-zone":    {reply: "127.0.0.3:5353", proto: 17, timeout: true, start: true, zone: 7},
		"dump-proto10":         {reply: "127.0.0.3:0", proto: 1, timeout: true, start: true},
		"new-tcp80":            {tcp: tcpSynSent, reply: "127.0.0.3:80", proto: 6, timeout: true, event: true},
		"new-tcp80-nat":        {tcp: tcpSynSent, reply: "127.0.0.2:80", proto: 6, nat: true, timeout: true, event: true},
		"new-tcp80-v6":         {tcp: tcpSynSent, reply: "[::1]:80", proto: 6, timeout: true, event: true},
		"new-tcp21-helper":     {tcp: tcpSynSent, reply: "127.0.0.3:21", proto: 6, timeout: true, event: true, helper: true},
		"new-udp53-nat":        {reply: "127.0.0.2:53", proto: 17, nat: true, timeout: true, event: true},
		"new-udp53-v6":         {reply: "[::1]:53", proto: 17, timeout: true, event: true},
		"new-udp5353-zone":     {reply: "127.0.0.3:5353", proto: 17, timeout: true, event: true, zone: 7},
		"new-proto10":          {reply: "127.0.0.3:0", proto: 1, timeout: true, event: true},
		"destroy-tcp80":        {tcp: tcpEstablished, reply: "127.0.0.3:80", proto: 6, timeout: true, start: true, stop: true, event: true},
		"destroy-tcp80-nat":    {tcp: tcpEstablished, reply: "127.0.0.2:80", proto: 6, nat: true, timeout: true, start: true, stop: true, event: true},
		"destroy-tcp80-v6":     {tcp: tcpEstablished, reply: "[::1]:80", proto: 6, timeout: true, start: true, stop: true, event: true},
		"destroy-tcp21":        {tcp: tcpEstablished, reply: "127.0.0.3:21", proto: 6, timeout: true, start: true, stop: true, event: true},
		"destroy-udp53-nat":    {reply: "127.0.0.2:53", proto: 17, nat: true, timeout: true, start: true, stop: true, event: true},
		"destroy-udp53-v6":     {reply: "[::1]:53", proto: 17, timeout: true, start: true, stop: true, event: true},
		"destroy-udp5353-zone": {reply: "127.0.0.3:5353", proto: 17, timeout: true, start: true, stop: true, event: true, zone: 7},
		"destroy-proto10":      {reply: "127.0.0.3:0", proto: 1, timeout: true, start: true, stop: true, event: true},
	}
	files := map[string][]byte{}
	for _, prefix := range []string{"dump-", "new-", "destroy-"} {
		maps.Copy(files, captured(t, prefix))
	}
	for f, b := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".bin")
		t.Run(filepath.Base(filepath.Dir(f))+"/"+name, func(t *testing.T) {
			t.Parallel()
			w, ok := want[name]
			if !ok {
				t.Fatal("nothing is said of this message")
			}
			w.event = w.event && stampsEvents(f)
			var m message
			if err := parseMessage(b, &m); err != nil {
				t.Fatal(err)
			}
			got := w
			got.tcp, got.reply, got.proto = m.tcp, m.reply.src.String(), m.orig.proto
			got.nat, got.timeout, got.event = m.status&ipsSrcNAT != 0, m.hasTimeout && m.timeout > 0, m.event != 0
			got.start, got.stop, got.helper, got.zone = m.start != 0, m.stop != 0, m.hasHelper, m.zone
			if got != w {
				t.Errorf("got %+v, want %+v", got, w)
			}
			if m.id == 0 || m.unknown != 0 || m.orig.dst != m.reply.src || (m.orig.src == m.reply.dst) == w.nat {
				t.Errorf("message %+v", m)
			}
		})
	}
}

// attribute is one, padded; nest is one that holds others.
func attribute(a attr, value ...byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	b = binary.NativeEndian.AppendUint16(b, uint16(a))
	b = append(b, value...)
	return append(b, make([]byte, -len(value)&3)...)
}

func nest(a attr, parts ...[]byte) []byte { return attribute(a|nested, bytes.Join(parts, nil)...) }

func message4(parts ...[]byte) []byte {
	return append([]byte{unix.AF_INET, 0, 0, 0}, bytes.Join(parts, nil)...)
}

// Every length is checked, what is newer than this package is counted, and the error names the attribute.
func TestParse(t *testing.T) {
	t.Parallel()
	ip := nest(attrTupleIP, attribute(attrIPv4Src, 10, 0, 0, 1), attribute(attrIPv4Dst, 203, 0, 113, 7))
	proto := nest(attrTupleProto, attribute(attrProtoNum, 6), attribute(attrProtoSrcPort, 0x27, 0x10), attribute(attrProtoDstPort, 1, 187))
	orig, reply := nest(attrTupleOrig, ip, proto), nest(attrTupleReply, ip, proto)
	tup := tuple{src: ap("10.0.0.1:10000"), dst: ap("203.0.113.7:443"), proto: 6}
	both := message{orig: tup, reply: tup}
	with := func(f func(*message)) message { m := both; f(&m); return m }
	tests := []struct {
		name string
		in   []byte
		want message
		err  string
	}{
		{name: "two tuples", in: message4(orig, reply), want: both},
		{name: "no header", in: []byte{2, 0, 0}, err: "parse nfgenmsg: 3 bytes, want 4"},
		{name: "nothing", in: message4(), err: "parse CTA_TUPLE_ORIG: 0 bytes, want a tuple"},
		{name: "one tuple", in: message4(orig), err: "parse CTA_TUPLE_REPLY: 0 bytes, want a tuple"},
		{name: "cut off", in: message4(orig, reply)[:70], err: "parse attribute: 14 bytes, want a whole one"},
		{name: "trailing bytes", in: append(message4(orig, reply), 9, 0, 3), err: "parse attribute: 3 bytes, want a whole one"},
		{name: "short status", in: message4(orig, reply, attribute(attrStatus, 0, 0, 1)), err: "parse CTA_STATUS: 3 bytes, want 4"},
		{name: "long timeout", in: message4(orig, reply, attribute(attrTimeout, 0, 0, 0, 0, 1)), err: "parse CTA_TIMEOUT: 5 bytes, want 4"},
		{name: "short id", in: message4(orig, reply, attribute(attrID)), err: "parse CTA_ID: 0 bytes, want 4"},
		{name: "long zone", in: message4(orig, reply, attribute(attrZone, 0, 0, 0)), err: "parse CTA_ZONE: 3 bytes, want 2"},
		{name: "short event stamp", in: message4(orig, reply, attribute(attrTimestampEvent, 1)), err: "parse CTA_TIMESTAMP_EVENT: 1 bytes, want 8"},
		{name: "short start", in: message4(orig, reply, nest(attrTimestamp, attribute(attrTimestampStart, 1))), err: "parse CTA_TIMESTAMP_START: 1 bytes, want 8"},
		{name: "short stop", in: message4(orig, reply, nest(attrTimestamp, attribute(attrTimestampStop, 1))), err: "parse CTA_TIMESTAMP_STOP: 1 bytes, want 8"},
		{name: "ragged stamps", in: message4(orig, reply, nest(attrTimestamp, []byte{1, 2})), err: "parse CTA_TIMESTAMP: 2 bytes, want a whole attribute"},
		{name: "long state", in: message4(orig, reply, nest(attrProtoinfo, nest(attrProtoinfoTCP, attribute(attrTCPState, 1, 2)))), err: "parse CTA_PROTOINFO_TCP_STATE: 2 bytes, want 1"},
		{name: "ragged state", in: message4(orig, reply, nest(attrProtoinfo, nest(attrProtoinfoTCP, []byte{1}))), err: "parse CTA_PROTOINFO_TCP: 1 bytes, want a whole attribute"},
		{name: "ragged protoinfo", in: message4(orig, reply, nest(attrProtoinfo, []byte{1})), err: "parse CTA_PROTOINFO: 1 bytes, want a whole attribute"},
		{name: "short address", in: message4(nest(attrTupleOrig, nest(attrTupleIP, attribute(attrIPv4Src, 1, 2, 3)), proto)), err: "parse CTA_IP_V4_SRC: 3 bytes, want 4"},
		{name: "short destination", in: message4(nest(attrTupleOrig, nest(attrTupleIP, attribute(attrIPv4Dst)), proto)), err: "parse CTA_IP_V4_DST: 0 bytes, want 4"},
		{name: "IPv4 as IPv6", in: message4(nest(attrTupleOrig, nest(attrTupleIP, attribute(attrIPv6Src, 1, 2, 3, 4)), proto)), err: "parse CTA_IP_V6_SRC: 4 bytes, want 16"},
		{name: "long IPv6", in: message4(nest(attrTupleOrig, nest(attrTupleIP, attribute(attrIPv6Dst, make([]byte, 17)...)), proto)), err: "parse CTA_IP_V6_DST: 17 bytes, want 16"},
		{name: "two families", in: message4(nest(attrTupleOrig, nest(attrTupleIP, attribute(attrIPv4Src, 1, 2, 3, 4), attribute(attrIPv6Dst, make([]byte, 16)...)), proto)), err: "parse CTA_TUPLE_IP: 0 bytes, want two addresses of one family"},
		{name: "ragged addresses", in: message4(nest(attrTupleOrig, nest(attrTupleIP, []byte{1}), proto)), err: "parse CTA_TUPLE_IP: 1 bytes, want a whole attribute"},
		{name: "no addresses", in: message4(nest(attrTupleOrig, proto)), err: "parse CTA_TUPLE_IP: 0 bytes, want two addresses of one family"},
		{name: "no protocol", in: message4(nest(attrTupleOrig, ip)), err: "parse CTA_PROTO_NUM: 0 bytes, want 1"},
		{name: "protocol without number", in: message4(nest(attrTupleOrig, ip, nest(attrTupleProto))), err: "parse CTA_PROTO_NUM: 0 bytes, want 1"},
		{name: "long protocol", in: message4(nest(attrTupleOrig, ip, nest(attrTupleProto, attribute(attrProtoNum, 6, 0)))), err: "parse CTA_PROTO_NUM: 2 bytes, want 1"},
		{name: "short source port", in: message4(nest(attrTupleOrig, ip, nest(attrTupleProto, attribute(attrProtoSrcPort, 6)))), err: "parse CTA_PROTO_SRC_PORT: 1 bytes, want 2"},
		{name: "long destination port", in: message4(nest(attrTupleOrig, ip, nest(attrTupleProto, attribute(attrProtoDstPort, 6, 6, 6)))), err: "parse CTA_PROTO_DST_PORT: 3 bytes, want 2"},
		{name: "ragged ports", in: message4(nest(attrTupleOrig, ip, nest(attrTupleProto, []byte{1}))), err: "parse CTA_TUPLE_PROTO: 1 bytes, want a whole attribute"},
		{name: "ragged tuple", in: message4(nest(attrTupleOrig, ip, proto, []byte{1})), err: "parse CTA_TUPLE: 1 bytes, want a whole attribute"},
		{name: "short zone of a direction", in: message4(nest(attrTupleOrig, ip, proto, attribute(attrTupleZone, 1))), err: "parse CTA_TUPLE_ZONE: 1 bytes, want 2"},
		{
			name: "tuples of two protocols",
			in:   message4(orig, nest(attrTupleReply, ip, nest(attrTupleProto, attribute(attrProtoNum, 17)))),
			err:  "parse CTA_TUPLE_REPLY: 0 bytes, want the protocol of CTA_TUPLE_ORIG",
		},
		{
			name: "zone of a direction",
			in:   message4(nest(attrTupleOrig, ip, proto, attribute(attrTupleZone, 1, 2)), reply),
			want: with(func(m *message) { m.orig.zone = 258 }),
		},
		{
			name: "known and not needed",
			in:   message4(orig, reply, attribute(8, 0, 0, 0, 1), attribute(22, 1, 2, 3), nest(14, []byte{1, 2, 3}), attribute(11)),
			want: both,
		},
		{
			name: "newer than this package",
			in: message4(orig, reply, attribute(28, 1), attribute(0), nest(attrProtoinfo, attribute(9), nest(attrProtoinfoTCP, attribute(7, 7))),
				nest(attrTimestamp, attribute(4, 1, 1))),
			want: with(func(m *message) { m.unknown = 5 }),
		},
		{
			name: "the same attribute twice: the last counts",
			in:   message4(orig, reply, attribute(attrID, 0, 0, 0, 1), attribute(attrID, 0, 0, 0, 2)),
			want: with(func(m *message) { m.id = 2 }),
		},
		{
			name: "mapped addresses",
			in: message4(nest(attrTupleOrig, nest(attrTupleIP,
				attribute(attrIPv6Src, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1), attribute(attrIPv6Dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 203, 0, 113, 7)), proto), reply),
			want: both,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := message{id: 1} // nothing stays of the last message
			err := parseMessage(tt.in, &got)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err {
				t.Errorf("error %q, want %q", text, tt.err)
			}
			if d := cmp.Diff(tt.want, got, compareMessages); d != "" {
				t.Errorf("message (-want +got):\n%s", d)
			}
		})
	}
}

// Whatever the bytes, the parser neither panics nor leaves half a message, and the
// kernel's usual layouts read the same in place as step by step.
func FuzzMessage(f *testing.F) {
	for _, prefix := range []string{"dump-", "new-", "destroy-"} {
		for _, b := range captured(f, prefix) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m message
		if err := parseMessage(b, &m); err != nil && m != (message{}) {
			t.Errorf("%v with %+v", err, m)
		}
		for rest := b[min(len(b), sizeofNfgenmsg):]; ; {
			typ, v, next, ok := nlraw.Attr(rest)
			if !ok {
				break
			}
			rest = next
			switch attr(typ) {
			case attrTupleOrig, attrTupleReply:
				var quick, slow tuple
				if layoutTuple(v, &quick) {
					if err := new(message).parseTuple(v, &slow); err != nil || quick != slow {
						t.Errorf("in place %+v, step by step %+v, %v", quick, slow, err)
					}
				}
			case attrProtoinfo:
				var quick, slow message
				if layoutTCP(v, &quick) {
					if err := slow.parseProtoinfo(v); err != nil || quick != slow {
						t.Errorf("in place %+v, step by step %+v, %v", quick, slow, err)
					}
				}
			}
		}
		c := newClock(nil)
		r := reading{from: c.read(), clock: c, timeouts: &timeouts{udpUnreplied: time.Second}}
		r.at = c.read()
		for _, fill := range []func(*collector.Flow, *message){r.fillSeen, r.fillOpened, r.fillClosed} {
			var flow collector.Flow
			fill(&flow, &m)
			for _, i := range []collector.Interval{flow.Opened, flow.Ended} {
				if i.From > i.To || i.To > r.at || i.From < 0 {
					t.Errorf("interval %+v at %d of %+v", i, r.at, m)
				}
			}
		}
	})
}

func FuzzStatistics(f *testing.F) {
	for _, b := range captured(f, "stats-") {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if cpu, st, err := parseStatistic(b); err != nil && (cpu != 0 || st != statistic{}) {
			t.Errorf("%v with %d %v", err, cpu, st)
		}
		if n, err := parseEntries(b); err != nil && n != 0 {
			t.Errorf("%v with %d", err, n)
		}
	})
}

// What a kernel answers that cannot or must not show its table is told by named errors, and the sink is told
// that the dump broke off.
func TestDumpErrors(t *testing.T) {
	t.Parallel()
	count := func(req netlink.Message, n byte) []byte {
		b, err := (&netlink.Message{
			Header: netlink.Header{Length: 28, Type: msgGetStats, Sequence: req.Header.Sequence},
			Data:   append([]byte{0, 0, 0, 0}, attribute(attrStatsEntries, 0, 0, 0, n)...),
		}).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	refuse := func(req netlink.Message, typ netlink.HeaderType, flags netlink.HeaderFlags, errno unix.Errno) []byte {
		b, err := (&netlink.Message{
			Header: netlink.Header{Length: 20, Type: typ, Flags: flags, Sequence: req.Header.Sequence},
			Data:   binary.NativeEndian.AppendUint32(nil, uint32(-int32(errno))),
		}).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	isCount := func(req netlink.Message) bool { return req.Header.Type == msgGetStats }
	tests := []struct {
		name   string
		answer func(req netlink.Message) []byte
		want   error
		kinds  []collector.Kind
		errors uint64
	}{
		{
			name:   "no right",
			answer: func(req netlink.Message) []byte { return refuse(req, unix.NLMSG_ERROR, 0, unix.EPERM) },
			want:   ErrPermission, kinds: []collector.Kind{collector.Begin, collector.Abort},
		},
		{
			name:   "no module",
			answer: func(req netlink.Message) []byte { return refuse(req, unix.NLMSG_ERROR, 0, unix.EINVAL) },
			want:   ErrNoConntrack, kinds: []collector.Kind{collector.Begin, collector.Abort},
		},
		{
			name: "empty: it is not walked",
			answer: func(req netlink.Message) []byte {
				if !isCount(req) {
					t.Error("an empty table was dumped")
				}
				return count(req, 0)
			},
			kinds: []collector.Kind{collector.Begin, collector.End},
		},
		{
			name: "interrupted",
			answer: func(req netlink.Message) []byte {
				if isCount(req) {
					return count(req, 1)
				}
				return refuse(req, unix.NLMSG_DONE, unix.NLM_F_DUMP_INTR, 0)
			},
			want: nlraw.ErrInterrupted, kinds: []collector.Kind{collector.Begin, collector.Abort},
		},
		{
			name: "broken off half way",
			answer: func(req netlink.Message) []byte {
				if isCount(req) {
					return count(req, 1)
				}
				return refuse(req, unix.NLMSG_DONE, 0, unix.ENOMEM)
			},
			want: unix.ENOMEM, kinds: []collector.Kind{collector.Begin, collector.Abort},
		},
		{
			name: "a message that is none is counted",
			answer: func(req netlink.Message) []byte {
				if isCount(req) {
					return count(req, 1)
				}
				return append(refuse(req, msgNew, 0, 1), refuse(req, unix.NLMSG_DONE, 0, 0)...)
			},
			kinds: []collector.Kind{collector.Begin, collector.End}, errors: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got []collector.Kind
			tab := &table{
				conn:  nlraw.Fake(func(req netlink.Message) [][]byte { return [][]byte{tt.answer(req)} }),
				clock: newClock(nil), timeouts: &timeouts{}, out: &collector.Batch{}, buckets: func() int { return 1 },
			}
			tab.out.Start(func(_ context.Context, events []collector.Event) error {
				for _, e := range events {
					got = append(got, e.Kind)
				}
				return nil
			}, batchMax)
			if err := tab.dump(t.Context(), 0, false); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if d := cmp.Diff(tt.kinds, got); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
			if tab.found.parseErrors != tt.errors {
				t.Errorf("%d errors, want %d: %v", tab.found.parseErrors, tt.errors, tab.found.parseError)
			}
		})
	}

	// The table was resized: the kernel does not say so.
	size := 0
	tab := &table{
		conn: nlraw.Fake(func(req netlink.Message) [][]byte {
			if isCount(req) {
				return [][]byte{count(req, 1)}
			}
			return [][]byte{refuse(req, unix.NLMSG_DONE, 0, 0)}
		}),
		clock: newClock(nil), timeouts: &timeouts{}, out: &collector.Batch{}, buckets: func() int { size++; return size },
	}
	var last collector.Kind
	tab.out.Start(func(_ context.Context, events []collector.Event) error { last = events[len(events)-1].Kind; return nil }, batchMax)
	if err := tab.dump(t.Context(), 0, false); !errors.Is(err, nlraw.ErrInterrupted) || last != collector.Abort {
		t.Errorf("a table that was resized: %v, %v", err, last)
	}
}
