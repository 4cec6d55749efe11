package truth

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	oracle "github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// patience is how long a test waits for what must come; slow machines need most of it.
const patience = 2 * time.Minute

// watch is the route from the kernel's table to the ledger.
type watch struct {
	t      testing.TB
	ns     *netns.Handle
	now    func() collector.Time
	table  *oracle.Conn
	source *conntrack.Source

	mu     sync.Mutex
	ledger *ledger.Ledger
	begun  collector.Time // of the dump in progress
	dumped collector.Time // when the last complete dump began
	gaps   int            // how often the ledger has become inexact
	exact  bool
}

// newWatch watches ns under budgets until the test ends.
func newWatch(t testing.TB, ns *netns.Handle, strategy conntrack.Strategy, budgets ...*budget.Budget) *watch {
	t.Helper()
	table, err := oracle.Dial(&netlink.Config{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{t: t, ns: ns, now: collector.Clock(), table: table}
	w.ledger = ledger.New(ledger.Config{Budgets: budgets, Start: w.now()})
	s, err := conntrack.New(conntrack.Config{
		Netns: ns, Strategy: strategy, Clock: w.now, CPUBudget: 2,
		Interval: 300 * time.Millisecond, EventsInterval: time.Second, DrainInterval: 5 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.source = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, w.take) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the source ended: %v", err)
		}
		_ = table.Close()
	})
	w.settled()
	return w
}

func (w *watch) take(_ context.Context, events []collector.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	ledger.ApplyAll(events, w.ledger)
	for i := range events {
		switch e := &events[i]; e.Kind {
		case collector.Begin:
			w.begun = e.At
		case collector.End:
			w.dumped = w.begun
			w.look()
		case collector.Gap, collector.Overrun:
			w.look()
		}
	}
	return nil
}

// look notes whether the ledger has become inexact.
func (w *watch) look() {
	exact := w.ledger.Snapshot(w.now()).Netns[0].Exact
	if w.exact && !exact {
		w.gaps++
	}
	w.exact = exact
}

// madeInexact returns how often the ledger has become inexact.
func (w *watch) madeInexact() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.look()
	return w.gaps
}

// settled waits for the end of a dump that begins from now on, and returns what the ledger has then.
func (w *watch) settled() *detector.Snapshot {
	w.t.Helper()
	from := w.now()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		w.mu.Lock()
		if w.dumped >= from {
			defer w.mu.Unlock()
			return w.ledger.Snapshot(w.now())
		}
		w.mu.Unlock()
		if time.Now().After(deadline) {
			w.t.Fatal("no dump is complete")
		}
	}
}

// tcp returns what the settled ledger has of TCP under the first budget.
func (w *watch) tcp() detector.AccountSnapshot {
	w.t.Helper()
	return w.settled().Budgets[0].Protocols[0]
}

// entries returns the TCP entries of the kernel's table.
func (w *watch) entries() (tcp []oracle.Flow) {
	w.t.Helper()
	all, err := w.table.Dump(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range all {
		if f.TupleOrig.Proto.Protocol == uint8(collector.TCP) {
			tcp = append(tcp, f)
		}
	}
	return tcp
}

// flush forgets all entries, as conntrack -F does.
func (w *watch) flush() {
	w.t.Helper()
	if err := w.table.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for something that the kernel does by itself.
func (w *watch) until(what string, done func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// translated is a network namespace where what goes to 127.0.0.2 leaves from 127.0.0.9.
func translated(t testing.TB) *netns.Handle {
	t.Helper()
	ns := kerneltest.Netns(t)
	nft(t, ns, `table ip test {
		chain post { type nat hook postrouting priority 100; ip daddr 127.0.0.2 snat to 127.0.0.9; }
	}`)
	return ns
}

func nft(t testing.TB, ns *netns.Handle, rules string) {
	t.Helper()
	cmd := exec.Command(kerneltest.Program(t, "nft", "nftables"), "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	err := ns.Do(func() error {
		out, err := cmd.CombinedOutput()
		if err != nil {
			return errors.New(string(out))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("nft: %v", err)
	}
}

// sysctl sets one of ns, named by its path below /proc/sys/net.
func sysctl(t testing.TB, ns *netns.Handle, name, value string) {
	t.Helper()
	if err := ns.Do(func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0) }); err != nil {
		t.Fatal(err)
	}
}

// server accepts connections in a network namespace.
type server struct {
	t        testing.TB
	address  netip.AddrPort
	accepted chan *net.TCPConn
	// kept are all that connect opened: one that nobody names any more is closed when Go collects it.
	kept []pair
}

func serve(t testing.TB, ns *netns.Handle, address string) *server {
	t.Helper()
	var l net.Listener
	if err := ns.Do(func() (err error) { l, err = net.Listen("tcp4", address); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &server{t: t, address: netip.MustParseAddrPort(l.Addr().String()), accepted: make(chan *net.TCPConn, 1000)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.accepted <- c.(*net.TCPConn)
		}
	}()
	return s
}

// pair is both ends of a connection.
type pair struct{ client, server *net.TCPConn }

// connect opens connections from ns, one after the other.
func (s *server) connect(ns *netns.Handle, n int) (pairs []pair) {
	s.t.Helper()
	for range n {
		var c net.Conn
		err := ns.Do(func() (err error) { c, err = net.Dial("tcp4", s.address.String()); return err })
		if err != nil {
			s.t.Fatal(err)
		}
		pairs = append(pairs, pair{c.(*net.TCPConn), <-s.accepted})
	}
	s.kept = append(s.kept, pairs...)
	return pairs
}

// firstPort is the first of the ports that a test takes in turns.
const firstPort = 20_000

// dialFrom connects from an address that may be in TIME_WAIT; nil leaves it to the kernel.
func dialFrom(from *net.TCPAddr, to netip.AddrPort) (*net.TCPConn, error) {
	d := net.Dialer{}
	if from != nil {
		d.LocalAddr = from
		d.Control = func(_, _ string, c syscall.RawConn) error {
			var refused error
			err := c.Control(func(fd uintptr) {
				refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			})
			return errors.Join(err, refused)
		}
	}
	c, err := d.Dial("tcp4", to.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// close ends p by FIN from both sides.
func (p pair) close() {
	_ = p.client.Close()
	_ = p.server.Close()
}

// reset ends p by an RST of the client.
func (p pair) reset() {
	_ = p.client.SetLinger(0)
	_ = p.client.Close()
	_ = p.server.Close()
}

// speak sends a byte there and back.
func (p pair) speak(t testing.TB) {
	t.Helper()
	for _, way := range [][2]*net.TCPConn{{p.client, p.server}, {p.server, p.client}} {
		if _, err := way[0].Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := way[1].Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func endAll(pairs []pair, end func(pair)) {
	for _, p := range pairs {
		end(p)
	}
}

// provider is a budget of a NAT further out, which this machine's conntrack says nothing of.
func provider(t testing.TB) *budget.Budget {
	t.Helper()
	b, err := budget.Resolve(budget.Params{
		Name: "lb", Model: "azure-lb", Nodes: 1, Include: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
