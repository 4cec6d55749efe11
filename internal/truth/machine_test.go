package truth

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// machine is a VM whose flows to servers leave under another address.
type machine struct {
	b       *testing.B
	ns      *netns.Handle
	servers []netip.AddrPort
	ports   int // that generate takes in turns, from firstPort on; 0: the kernel chooses

	again *again // nil: five-tuples that come back are not counted

	opened atomic.Uint64 // by generate
	open   sync.WaitGroup
}

// newMachine makes one with servers that accept, and read until their client ends.
func newMachine(b *testing.B, servers int) *machine {
	b.Helper()
	_, ns, far := kerneltest.Gateway(b, `table ip nat {
		chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
	}`)
	kerneltest.Command(b, far, "ip", "address", "add", "10.83.0.1/32", "dev", "lo")
	kerneltest.Command(b, ns, "ip", "route", "add", "10.83.0.1/32", "via", "10.82.0.2", "src", "10.81.0.1")
	sysctl(b, ns, "netfilter/nf_conntrack_events", "2") // entries have events while somebody listens
	m := &machine{b: b, ns: ns}
	for range servers {
		var l net.Listener
		if err := far.Do(func() (err error) { l, err = net.Listen("tcp4", "10.83.0.1:0"); return err }); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = l.Close() })
		m.servers = append(m.servers, netip.MustParseAddrPort(l.Addr().String()))
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go answer(c.(*net.TCPConn))
			}
		}()
	}
	return m
}

// answer ends c as its client asks: first, by the byte f, or after the client.
func answer(c *net.TCPConn) {
	defer func() { _ = c.Close() }()
	b := make([]byte, 1)
	for {
		if _, err := c.Read(b); err != nil || b[0] == 'f' {
			return
		}
	}
}

// generate opens rate flows a second to the servers in turns until ctx ends, and counts those that opened. Of ten, seven
// end at once, one after three seconds, one by RST, and one is ended by its server.
func (m *machine) generate(ctx context.Context, rate int) {
	const workers = 8
	var next atomic.Uint64
	start := time.Now()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			err := m.ns.Do(func() error {
				for ctx.Err() == nil {
					n := next.Add(1)
					time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second / time.Duration(rate))))
					c, err := m.connect(n)
					if err != nil {
						return err
					}
					m.end(c, n)
				}
				return nil
			})
			if err != nil {
				m.b.Error(err)
			}
		})
	}
	group.Wait()
	m.open.Wait()
}

// connect opens the n-th connection; call it in m.ns. Its port is the next of m.ports, if there are any, and else the
// kernel's choice.
func (m *machine) connect(n uint64) (*net.TCPConn, error) {
	var from *net.TCPAddr
	if m.ports > 0 {
		from = &net.TCPAddr{IP: net.IPv4(10, 81, 0, 1), Port: firstPort + int(n%uint64(m.ports))}
	}
	server := int(n % uint64(len(m.servers)))
	c, err := dialFrom(from, m.servers[server])
	if err == nil {
		m.opened.Add(1)
		if m.again != nil {
			m.again.open(server, netip.MustParseAddrPort(c.LocalAddr().String()).Port())
		}
	}
	return c, err
}

// end ends the n-th connection.
func (m *machine) end(c *net.TCPConn, n uint64) {
	switch n % 10 {
	case 0:
		m.open.Add(1)
		time.AfterFunc(3*time.Second, func() { _ = c.Close(); m.open.Done() })
	case 1:
		_ = c.SetLinger(0)
		_ = c.Close()
	case 2:
		_, _ = c.Write([]byte("f"))
		_, _ = c.Read(make([]byte, 1))
		_ = c.Close()
	default:
		_ = c.Close()
	}
}

// agent is a snatwatch on a machine, or another program that serves metrics.
type agent struct {
	m    *machine
	name string
	pid  int
	url  string
	get  *http.Client
}

// watch starts a snatwatch on m that has one budget, of a NAT further out, until the benchmark ends.
func (m *machine) watch(name string, port int, program string, args ...string) *agent {
	m.b.Helper()
	config := m.b.TempDir() + "/snatwatch.yaml"
	text := "budgets: [{name: nat, model: static, ports: 64000, tcp: {cool_down: {fin: 240s, rst: 15s}}, " +
		"destinations: {include: [0.0.0.0/0], exclude: [127.0.0.0/8]}}]\n" // as Azure's, and at least as long as most
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		m.b.Fatal(err)
	}
	a := m.start(name, port, program, append(args, "--config="+config, fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port))...)
	for deadline := time.Now().Add(patience); a.scrape()["snat_ledger_exact"] != 1; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			m.b.Fatalf("%s: the ledger is not exact", name)
		}
	}
	return a
}

// start starts a program on m until the benchmark ends. If it serves metrics, it does so on port.
func (m *machine) start(name string, port int, program string, args ...string) *agent {
	m.b.Helper()
	cmd := exec.Command(program, args...)
	log, err := os.Create(m.b.TempDir() + "/log")
	if err != nil {
		m.b.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr, cmd.Dir = io.Discard, log, "/"
	if err := m.ns.Do(cmd.Start); err != nil {
		m.b.Fatal(err)
	}
	m.b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); m.b.Failed() && err == nil {
			m.b.Logf("log of %s:\n%s", name, text)
		}
	})
	return &agent{
		m: m, name: name, pid: cmd.Process.Pid, url: fmt.Sprintf("http://127.0.0.1:%d/metrics", port),
		get: &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
				err = m.ns.Do(func() (err error) { c, err = (&net.Dialer{}).DialContext(ctx, network, address); return err })
				return c, err
			},
		}},
	}
}

// series are sums of metrics by name, over all their series of TCP or of no protocol.
type series map[string]float64

// scrape waits for an answer.
func (a *agent) scrape() series {
	a.m.b.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		s, err := a.try()
		if err == nil {
			return s
		}
		if time.Now().After(deadline) {
			a.m.b.Fatalf("%s: %v", a.name, err)
		}
	}
}

func (a *agent) try() (series, error) {
	res, err := a.get.Get(a.url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status)
	}
	sums := series{}
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if i := strings.LastIndex(lines.Text(), "} "); i >= 0 {
			name, value = lines.Text()[:i], lines.Text()[i+2:]
		}
		if strings.Contains(name, "protocol=") && !strings.Contains(name, `protocol="tcp"`) {
			continue
		}
		name, _, _ = strings.Cut(name, "{")
		if x, err := strconv.ParseFloat(value, 64); err == nil && name != "#" {
			sums[name] += x
		}
	}
	return sums, lines.Err()
}

// counted are the flows that the agent has counted.
type counted struct{ opened, closed, live uint64 }

func (s series) counted() counted {
	return counted{uint64(s["snat_flows_opened_total"]), uint64(s["snat_flows_closed_total"]), uint64(s["snat_ports_live"])}
}

// settles waits until the agent has counted what is wanted, at most for some minutes.
func (a *agent) settles(want counted) counted {
	var got counted
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		if got = a.scrape().counted(); got == want {
			break
		}
	}
	return got
}

// usage is what a process took: CPU time, with that of its children that ended, and the most memory that it had.
type usage struct {
	cpu  time.Duration
	peak int // bytes
}

func (a *agent) usage() usage {
	a.m.b.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all that Debian runs on
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.pid))
	if err != nil {
		a.m.b.Fatalf("%s: %v", a.name, err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var u usage
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.Atoi(f)
		if err != nil {
			a.m.b.Fatal(err)
		}
		u.cpu += time.Duration(n) * tick
	}
	b, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", a.pid))
	if err != nil {
		a.m.b.Fatalf("%s: %v", a.name, err)
	}
	if _, rest, ok := strings.Cut(string(b), "VmHWM:"); ok {
		kb, err := strconv.Atoi(strings.Fields(rest)[0])
		if err != nil {
			a.m.b.Fatal(err)
		}
		u.peak = kb << 10
	}
	return u
}

// environment returns the value of a variable that .ci/bench or .ci/soak sets.
func environment(b *testing.B, name string) string {
	b.Helper()
	v := os.Getenv(name)
	if v == "" {
		b.Fatalf("%s is not set", name)
	}
	return v
}
