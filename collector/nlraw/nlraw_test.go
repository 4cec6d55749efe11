package nlraw_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/nlraw"
)

func datagram(t *testing.T, msgs ...netlink.Message) []byte {
	t.Helper()
	var b []byte
	for _, m := range msgs {
		m.Header.Length = uint32(unix.NLMSG_HDRLEN + (len(m.Data)+3)&^3)
		raw, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, raw...)
	}
	return b
}

func errno(e syscall.Errno) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e)))
}

// A dump's end, its errors and its interruption are told apart whatever the
// kernel answers.
func TestDumpAnswers(t *testing.T) {
	t.Parallel()
	const typ = 0x100
	tests := []struct {
		name   string
		answer func(t *testing.T, seq uint32) [][]byte
		want   []string
		err    error
	}{
		{
			name: "two datagrams",
			answer: func(t *testing.T, seq uint32) [][]byte {
				h := netlink.Header{Type: typ, Flags: netlink.Multi, Sequence: seq}
				return [][]byte{
					datagram(t, netlink.Message{Header: h, Data: []byte("aaaa")}, netlink.Message{Header: h, Data: []byte("bbbb")}),
					datagram(t, netlink.Message{Header: h, Data: []byte("cccc")}, netlink.Message{Header: netlink.Header{Type: unix.NLMSG_DONE, Sequence: seq}, Data: errno(0)}),
				}
			},
			want: []string{"aaaa", "bbbb", "cccc"},
		},
		{
			name: "answers to an older request are skipped",
			answer: func(t *testing.T, seq uint32) [][]byte {
				return [][]byte{datagram(t,
					netlink.Message{Header: netlink.Header{Type: typ, Sequence: seq - 1}, Data: []byte("old.")},
					netlink.Message{Header: netlink.Header{Type: unix.NLMSG_DONE, Sequence: seq - 1}, Data: errno(0)},
					netlink.Message{Header: netlink.Header{Type: typ, Sequence: seq}, Data: []byte("new.")},
					netlink.Message{Header: netlink.Header{Type: unix.NLMSG_DONE, Sequence: seq}, Data: errno(0)})}
			},
			want: []string{"new."},
		},
		{
			name: "refused",
			answer: func(t *testing.T, seq uint32) [][]byte {
				return [][]byte{datagram(t, netlink.Message{Header: netlink.Header{Type: unix.NLMSG_ERROR, Sequence: seq}, Data: errno(unix.EPERM)})}
			},
			err: unix.EPERM,
		},
		{
			name: "error at the end",
			answer: func(t *testing.T, seq uint32) [][]byte {
				return [][]byte{datagram(t, netlink.Message{Header: netlink.Header{Type: unix.NLMSG_DONE, Sequence: seq}, Data: errno(unix.ENOMEM)})}
			},
			err: unix.ENOMEM,
		},
		{
			name: "interrupted",
			answer: func(t *testing.T, seq uint32) [][]byte {
				h := netlink.Header{Type: typ, Flags: netlink.Multi | unix.NLM_F_DUMP_INTR, Sequence: seq}
				return [][]byte{datagram(t, netlink.Message{Header: h, Data: []byte("aaaa")}, netlink.Message{Header: netlink.Header{Type: unix.NLMSG_DONE, Sequence: seq}, Data: errno(0)})}
			},
			want: []string{"aaaa"},
			err:  nlraw.ErrInterrupted,
		},
		{
			name:   "cut off in a header",
			answer: func(*testing.T, uint32) [][]byte { return [][]byte{make([]byte, 15)} },
			err:    nlraw.ErrMalformed,
		},
		{
			name:   "length of zero",
			answer: func(*testing.T, uint32) [][]byte { return [][]byte{make([]byte, 16)} },
			err:    nlraw.ErrMalformed,
		},
		{
			name: "length beyond the datagram",
			answer: func(*testing.T, uint32) [][]byte {
				return [][]byte{append([]byte{255, 0, 0, 0}, make([]byte, 16)...)}
			},
			err: nlraw.ErrMalformed,
		},
		{
			name:   "more than the buffer",
			answer: func(*testing.T, uint32) [][]byte { return [][]byte{make([]byte, nlraw.BufferSize+1)} },
			err:    nlraw.ErrMalformed,
		},
		{
			name:   "silence",
			answer: func(*testing.T, uint32) [][]byte { return nil },
			err:    unix.EAGAIN,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := nlraw.Fake(func(req netlink.Message) [][]byte { return tt.answer(t, req.Header.Sequence) })
			var got []string
			err := c.Dump(t.Context(), netlink.Message{}, nil, func(m nlraw.Message) error {
				got = append(got, string(m.Data))
				return nil
			})
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("messages (-want +got):\n%s", d)
			}
		})
	}
}

// What a callback returns ends the dump and comes back as it is.
func TestDumpStopsAtAnError(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	c := nlraw.Fake(func(req netlink.Message) [][]byte {
		h := netlink.Header{Type: 0x100, Sequence: req.Header.Sequence}
		return [][]byte{datagram(t, netlink.Message{Header: h}, netlink.Message{Header: h})}
	})
	n := 0
	err := c.Dump(t.Context(), netlink.Message{}, nil, func(nlraw.Message) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("after %d messages: %v", n, err)
	}
	if err := c.Dump(t.Context(), netlink.Message{}, func() error { return stop }, nil); !errors.Is(err, stop) {
		t.Errorf("datagram's error: %v", err)
	}
}

func TestAttr(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		in    []byte
		typ   uint16
		value []byte
		rest  int
		ok    bool
	}{
		{name: "empty"},
		{name: "three bytes", in: []byte{4, 0, 1}, rest: 3},
		{name: "no value", in: []byte{4, 0, 1, 0}, typ: 1, value: []byte{}, ok: true},
		{name: "flags are taken off", in: []byte{4, 0, 1, 0xc0}, typ: 1, value: []byte{}, ok: true},
		{name: "padding is taken off", in: []byte{5, 0, 1, 0, 9, 0, 0, 0, 7}, typ: 1, value: []byte{9}, rest: 1, ok: true},
		{name: "padding is missing at the end", in: []byte{5, 0, 1, 0, 9}, typ: 1, value: []byte{9}, ok: true},
		{name: "length under the header", in: []byte{3, 0, 1, 0}, rest: 4},
		{name: "length beyond the end", in: []byte{6, 0, 1, 0, 9}, rest: 5},
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("cases are little-endian")
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			typ, value, rest, ok := nlraw.Attr(tt.in)
			if typ != tt.typ || !bytes.Equal(value, tt.value) || len(rest) != tt.rest || ok != tt.ok {
				t.Errorf("got %d %v, %d left, %v", typ, value, len(rest), ok)
			}
		})
	}
}

// NETLINK_ROUTE answers without rights, so a real dump is read everywhere.
func TestKernelDump(t *testing.T) {
	t.Parallel()
	c, err := nlraw.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		t.Fatal(err)
	}
	dumps(t, c)
}

func dumps(t *testing.T, c *nlraw.Conn) {
	t.Helper()
	defer func() { _ = c.Close() }()
	for range 2 {
		links := 0
		err := c.Dump(t.Context(), netlink.Message{
			Header: netlink.Header{Type: unix.RTM_GETLINK},
			Data:   make([]byte, unix.SizeofIfInfomsg),
		}, nil, func(m nlraw.Message) error {
			if m.Type != unix.RTM_NEWLINK {
				t.Errorf("message of type %d", m.Type)
			}
			links++
			return nil
		})
		if err != nil || links == 0 {
			t.Fatalf("%d links: %v", links, err)
		}
	}
	err := c.Dump(t.Context(), netlink.Message{Header: netlink.Header{Type: 0x7fff}}, nil, nil)
	var e syscall.Errno
	if !errors.As(err, &e) {
		t.Errorf("an unknown request: %v", err)
	}
}

// A read that waits ends with its context, and the next one works.
func TestKernelReceiveIsCancelled(t *testing.T) {
	t.Parallel()
	c, err := nlraw.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("cancelled: %v", err)
	}
	if _, err := c.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("cancelled before the start: %v", err)
	}
	n := 0
	err = c.Dump(t.Context(), netlink.Message{
		Header: netlink.Header{Type: unix.RTM_GETLINK},
		Data:   make([]byte, unix.SizeofIfInfomsg),
	}, nil, func(nlraw.Message) error { n++; return nil })
	if err != nil || n == 0 {
		t.Errorf("after a cancelled read: %d links, %v", n, err)
	}
	go func() { time.Sleep(20 * time.Millisecond); _ = c.Close() }()
	if _, err := c.Receive(t.Context()); err == nil {
		t.Error("a read of a closed socket waits no longer, but it must say why")
	}
}

func TestKernelBatch(t *testing.T) {
	t.Parallel()
	c, err := nlraw.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	b := nlraw.NewDatagrams(4)
	if err := c.ReceiveReady(b); err != nil || b.Len() != 0 {
		t.Fatalf("an empty queue: %d datagrams, %v", b.Len(), err)
	}
	for range 6 {
		if _, err := c.Send(netlink.Message{Header: netlink.Header{Type: 0x7fff, Flags: netlink.Request}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []int{4, 2, 0} {
		if err := c.ReceiveReady(b); err != nil || b.Len() != want {
			t.Fatalf("%d datagrams, want %d: %v", b.Len(), want, err)
		}
		for i := range b.Len() {
			d, ok := b.Datagram(i)
			if m, _, err := nlraw.Next(d); !ok || err != nil || m.Type != unix.NLMSG_ERROR {
				t.Errorf("datagram %d: %+v, %v, %v", i, m, ok, err)
			}
		}
	}
}

func FuzzDatagram(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 16))
	f.Add([]byte{20, 0, 0, 0, 0, 1, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			m, rest, err := nlraw.Next(b)
			if err != nil {
				if m.Data != nil || rest != nil {
					t.Fatal("an error with a message")
				}
				return
			}
			if len(rest) >= len(b) {
				t.Fatal("no progress")
			}
			for a := m.Data; len(a) > 0; {
				_, _, next, ok := nlraw.Attr(a)
				if !ok {
					break
				}
				if len(next) >= len(a) {
					t.Fatal("no progress in attributes")
				}
				a = next
			}
			b = rest
		}
	})
}
