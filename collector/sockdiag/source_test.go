package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
)

// table is what a fake kernel has in one namespace: the sockets by the states asked for.
type table struct {
	tcp, udp []string // names of captured messages
	perFam   bool     // it refuses TCPDIAG_GETSOCK
	fail     syscall.Errno
	flags    netlink.HeaderFlags
}

// answer plays the kernel.
func (k *table) answer(t *testing.T) func(netlink.Message) [][]byte {
	return func(req netlink.Message) [][]byte {
		h := netlink.Header{Type: req.Header.Type, Flags: netlink.Multi | k.flags, Sequence: req.Header.Sequence}
		if req.Header.Type == tcpDiagGetSock && k.perFam {
			return [][]byte{datagram(t, netlink.Header{Type: unix.NLMSG_ERROR, Sequence: h.Sequence}, errno(unix.EOPNOTSUPP))}
		}
		names, family := k.tcp, uint8(0)
		var states uint32
		info := req.Data[reqExtensions]
		if req.Header.Type == tcpDiagGetSock {
			info = req.Data[reqOldExtensions]
			states = binary.NativeEndian.Uint32(req.Data[4+sizeofSockID:])
		} else {
			family, states = req.Data[0], binary.NativeEndian.Uint32(req.Data[4:])
			if collector.Protocol(req.Data[1]) == collector.UDP {
				names = k.udp
			}
		}
		var out [][]byte
		for _, name := range names {
			b := captured(t, kernels(t)[0], name)
			ask := uint32(1) << b[msgState]
			if info != 0 && b[msgState] != tcpTimeWait {
				b = append(slices.Clone(b), openedHere()...)
			}
			if states&ask != 0 && (family == 0 || family == b[msgFamily]) {
				out = append(out, datagram(t, h, b))
			}
		}
		done := netlink.Header{Type: unix.NLMSG_DONE, Flags: h.Flags, Sequence: h.Sequence}
		return append(out, datagram(t, done, errno(k.fail)))
	}
}

// openedHere is the attribute that tells of a socket which connected and sent nothing.
func openedHere() []byte {
	b := make([]byte, unix.SizeofNlAttr+sizeofInfo)
	binary.NativeEndian.PutUint16(b, uint16(len(b)))
	binary.NativeEndian.PutUint16(b[2:], attrInfo)
	binary.NativeEndian.PutUint64(b[unix.SizeofNlAttr+infoBytesAcked:], 1)
	return b
}

func datagram(t *testing.T, h netlink.Header, data []byte) []byte {
	t.Helper()
	h.Length = uint32(unix.NLMSG_HDRLEN + len(data))
	b, err := netlink.Message{Header: h, Data: data}.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func errno(e syscall.Errno) []byte {
	return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e)))
}

// machine is a fake one: namespaces by inode, 1 is the agent's own.
type machine struct {
	t      *testing.T
	mu     sync.Mutex // the test changes it while Run reads
	tables map[uint64]*table
	refuse map[uint64]error
	findEr error
	dials  int
}

func (m *machine) source(cfg Config) *Source {
	cfg.WithoutDestroy = true
	s := New(cfg)
	s.own = func() (uint64, error) { return 1, nil }
	s.alive = func(n netns.Netns) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.tables[n.Inode] != nil
	}
	s.find = func() (list []netns.Netns, err error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for inode := range m.tables {
			list = append(list, netns.Netns{Inode: inode, Path: fmt.Sprintf("/run/netns/%d", inode)})
		}
		slices.SortFunc(list, func(a, b netns.Netns) int { return int(a.Inode) - int(b.Inode) })
		return list, m.findEr
	}
	s.dial = func(n netns.Netns) (*nlraw.Conn, error) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.dials++
		if err := m.refuse[n.Inode]; err != nil {
			return nil, err
		}
		k := m.tables[n.Inode]
		if k == nil {
			return nil, netns.ErrGone
		}
		answer := k.answer(m.t)
		return nlraw.Fake(func(req netlink.Message) [][]byte {
			m.mu.Lock()
			defer m.mu.Unlock()
			return answer(req)
		}), nil
	}
	return s
}

// story tells events as a line: "1:begin 1:seen 1:end".
func story(events []collector.Event) string {
	var words []string
	for _, e := range events {
		words = append(words, fmt.Sprintf("%d:%v", e.Netns, e.Kind))
	}
	return strings.Join(words, " ")
}

func TestRun(t *testing.T) {
	t.Parallel()
	established, synsent, timewait := "tcp-established", "tcp-synsent", "tcp-timewait"
	tests := []struct {
		name   string
		tables map[uint64]*table
		refuse map[uint64]error
		find   error
		change func(m *machine) // after the first poll
		want   []string         // of each poll
		check  func(t *testing.T, m *machine, st *Stats)
	}{
		{
			name:   "two namespaces, what is no flow left out",
			tables: map[uint64]*table{1: {tcp: []string{established, synsent, timewait}}, 2: {udp: []string{"udp-connected", "udp-unconnected"}}},
			want:   []string{"1:begin 1:seen 1:seen 1:end 2:begin 2:seen 2:end", "1:begin 1:seen 1:seen 1:end 2:begin 2:seen 2:end"},
			check: func(t *testing.T, m *machine, st *Stats) {
				want := Tally{Sockets: 3, Flows: 2, Unsure: 1} // nobody knows who opened what is in TIME_WAIT
				if diff := cmp.Diff(want, st.Netns[0].Last, cmp.AllowUnexported(Tally{})); diff != "" {
					t.Errorf("tally (-want +got):\n%s", diff)
				}
				if st.Netns[0].Dumps != 2 || !st.Netns[0].Own || st.Netns[1].Own || m.dials != 2 {
					t.Errorf("%d dials, stats %+v", m.dials, st.Netns)
				}
			},
		},
		{
			name:   "inbound: the listener's port",
			tables: map[uint64]*table{1: {tcp: []string{"tcp-listen", "tcp-closewait", established}}},
			want:   []string{"1:begin 1:seen 1:end", "1:begin 1:seen 1:end"},
			check: func(t *testing.T, _ *machine, st *Stats) {
				if got := st.Netns[0].Last; got.Inbound != 1 || got.Listeners != 1 {
					t.Errorf("tally %+v, want one listener and one inbound", got)
				}
			},
		},
		{
			name:   "a namespace vanishes",
			tables: map[uint64]*table{1: {}, 2: {tcp: []string{established}}},
			change: func(m *machine) { delete(m.tables, 2) },
			want:   []string{"1:begin 1:end 2:begin 2:seen 2:end", "2:begin 2:end 1:begin 1:end", "1:begin 1:end"},
		},
		{
			name:   "a namespace comes: seen at the next rescan",
			tables: map[uint64]*table{1: {}},
			change: func(m *machine) { m.tables[3] = &table{tcp: []string{established}} },
			want:   []string{"1:begin 1:end", "1:begin 1:end", "1:begin 1:end", "1:begin 1:end 3:begin 3:seen 3:end"},
		},
		{
			name:   "a dump breaks off, the next is whole",
			tables: map[uint64]*table{1: {}, 2: {tcp: []string{established}}},
			change: func(m *machine) { m.tables[2].fail = unix.ENOMEM },
			want: []string{
				"1:begin 1:end 2:begin 2:seen 2:end", "1:begin 1:end 2:begin 2:abort",
				"1:begin 1:end 2:begin 2:abort",
			},
			check: func(t *testing.T, m *machine, st *Stats) {
				n := st.Netns[1]
				if n.Aborted != 2 || !errors.Is(n.Err, unix.ENOMEM) || n.ErrAt == 0 || m.dials != 3 {
					t.Errorf("%d dials, stats %+v", m.dials, n)
				}
			},
		},
		{
			name:   "a dump is interrupted",
			tables: map[uint64]*table{1: {tcp: []string{established}}},
			change: func(m *machine) { m.tables[1].flags = unix.NLM_F_DUMP_INTR },
			want:   []string{"1:begin 1:seen 1:end", "1:begin 1:abort"},
		},
		{
			name:   "an old kernel: one request for each family",
			tables: map[uint64]*table{1: {perFam: true, tcp: []string{"tcp-listen", "tcp-closewait", established, "tcp6-established"}}},
			want:   []string{"1:begin 1:seen 1:seen 1:end", "1:begin 1:seen 1:seen 1:end"},
		},
		{
			name:   "rights are missing for another namespace",
			tables: map[uint64]*table{1: {tcp: []string{established}}, 2: {}},
			refuse: map[uint64]error{2: &netns.AccessError{What: "enter", Missing: netns.Capabilities(0).With(netns.SysAdmin)}},
			find:   &netns.AccessError{What: "see", Hidden: 5, Missing: netns.Capabilities(0).With(netns.SysPtrace)},
			want:   []string{"1:begin 1:seen 1:end", "1:begin 1:seen 1:end"},
			check: func(t *testing.T, _ *machine, st *Stats) {
				var missing []string
				for _, e := range st.Refused {
					missing = append(missing, e.Error())
				}
				want := []string{"cannot see (5): needs CAP_SYS_PTRACE", "cannot enter: needs CAP_SYS_ADMIN"}
				if diff := cmp.Diff(want, missing); diff != "" || !st.OwnOnly || st.Unread != 1 {
					t.Errorf("own only %v, unread %d, refused (-want +got):\n%s", st.OwnOnly, st.Unread, diff)
				}
			},
		},
		{
			name:   "namespaces cannot be listed: the own one is read",
			tables: map[uint64]*table{1: {tcp: []string{established}}},
			find:   errors.New("proc is gone"),
			want:   []string{"1:begin 1:seen 1:end", "1:begin 1:seen 1:end"},
			check: func(t *testing.T, _ *machine, st *Stats) {
				if st.FindErrors == 0 {
					t.Error("not counted")
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := &machine{t: t, tables: tt.tables, refuse: tt.refuse, findEr: tt.find}
				s := m.source(Config{Interval: 10 * time.Second, Rescan: 25 * time.Second})
				ctx, cancel := context.WithCancel(t.Context())
				var rec recorder
				ended := make(chan error)
				go func() { ended <- s.Run(ctx, rec.sink) }()
				for i, want := range tt.want {
					if i > 0 {
						time.Sleep(10 * time.Second)
					}
					synctest.Wait()
					if got := story(rec.take()); got != want {
						t.Errorf("poll %d: %s, want %s", i, got, want)
					}
					if i == 0 && tt.change != nil {
						m.mu.Lock()
						tt.change(m)
						m.mu.Unlock()
					}
				}
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("ended by %v, want %v", err, context.Canceled)
				}
				if tt.check != nil {
					tt.check(t, m, s.Stats())
				}
			})
		})
	}
}

func TestRunEnds(t *testing.T) {
	t.Parallel()
	full := errors.New("sink is full")
	tests := []struct {
		name   string
		table  *table
		refuse error
		sink   collector.Sink
		want   error
	}{
		{"the sink fails", &table{}, nil, func(context.Context, []collector.Event) error { return full }, full},
		{"the own namespace cannot be dumped", &table{fail: unix.EPERM}, nil, (&recorder{}).sink, unix.EPERM},
		{"the own namespace cannot be opened", &table{}, unix.EMFILE, (&recorder{}).sink, unix.EMFILE},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := &machine{t: t, tables: map[uint64]*table{1: tt.table}}
			if tt.refuse != nil {
				m.refuse = map[uint64]error{1: tt.refuse}
			}
			if err := m.source(Config{}).Run(t.Context(), tt.sink); !errors.Is(err, tt.want) {
				t.Errorf("ended by %v, want %v", err, tt.want)
			}
		})
	}
}

// A dump larger than a batch arrives whole and in order.
func TestBatches(t *testing.T) {
	t.Parallel()
	const n = 3*batchEvents + 7
	k := &table{tcp: slices.Repeat([]string{"tcp-established"}, n)}
	m := &machine{t: t, tables: map[uint64]*table{1: k}}
	seen, batches := 0, 0
	ctx, cancel := context.WithCancel(t.Context())
	err := m.source(Config{}).Run(ctx, func(_ context.Context, events []collector.Event) error {
		batches++
		for _, e := range events {
			switch e.Kind {
			case collector.Seen:
				seen++
			case collector.End:
				cancel()
			}
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || seen != n || batches != 4 {
		t.Errorf("ended by %v after %d flows in %d batches, want %d in 4", err, seen, batches, n)
	}
}

func TestStallsPartly(t *testing.T) {
	t.Parallel()
	denied := &netns.AccessError{What: "enter", Missing: netns.Capabilities(0).With(netns.SysAdmin)}
	m := &machine{
		t:      t,
		tables: map[uint64]*table{1: {tcp: []string{"tcp-synsent", "tcp-established"}}, 2: {}, 3: {}},
		refuse: map[uint64]error{2: denied, 3: netns.ErrGone},
	}
	flows, err := m.source(Config{}).Stalls(t.Context())
	var got *netns.AccessError
	if !errors.As(err, &got) || got != denied || errors.Is(err, netns.ErrGone) {
		t.Errorf("error %v, want %v alone", err, denied)
	}
	if len(flows) != 1 || flows[0].Netns != 1 {
		t.Errorf("flows %+v, want the one that is stalled", flows)
	}
}
