package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/conntrack"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// translating makes a namespace in which the source of what goes to 127.0.0.2 becomes 127.0.0.9.
func translating(t *testing.T) *netns.Handle {
	t.Helper()
	ns := kerneltest.Netns(t)
	kerneltest.Command(t, ns, "nft",
		"table ip t { chain post { type nat hook postrouting priority 100; ip daddr 127.0.0.2 snat to 127.0.0.9; }; }")
	return ns
}

// recordedFlows opens real flows in ns to 127.0.0.2, which are translated to 127.0.0.9, and returns by source port what
// the record should say of each: protocol, destination, VIP, reason.
func recordedFlows(t *testing.T, ns *netns.Handle) map[string]string {
	t.Helper()
	var listener net.Listener
	var answering net.PacketConn
	err := ns.Do(func() (err error) {
		if listener, err = net.Listen("tcp4", "127.0.0.2:0"); err != nil {
			return err
		}
		answering, err = net.ListenPacket("udp4", "127.0.0.2:0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = listener.Close(), answering.Close() })
	dial := func(network, to string) net.Conn {
		var c net.Conn
		if err := ns.Do(func() (err error) { c, err = net.Dial(network, to); return err }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	want := map[string]string{}
	expect := func(c net.Conn, protocol, reason string) {
		_, port, _ := net.SplitHostPort(c.LocalAddr().String())
		want[protocol+" "+port] = fmt.Sprintf("%s 127.0.0.9:%s %s", c.RemoteAddr(), port, reason)
	}
	for i := range 90 {
		c := dial("tcp4", listener.Addr().String())
		server, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		switch i % 3 {
		case 0:
			expect(c, "tcp", "fin")
			_ = c.Close()
			_, _ = io.Copy(io.Discard, server)
			_ = server.Close()
		case 1:
			expect(c, "tcp", "rst")
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		default:
			expect(c, "tcp", "live")
		}
	}
	for range 10 {
		c := dial("udp4", answering.LocalAddr().String())
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		expect(c, "udp", "live")
	}
	return want
}

// closedInConntrack waits until the table of ns has n flows that ended: the last ACK may be on its way.
func closedInConntrack(t *testing.T, ns *netns.Handle, n int) {
	t.Helper()
	src, err := conntrack.New(conntrack.Config{Netns: ns})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		done := 0
		err := src.Dump(t.Context(), func(_ context.Context, events []collector.Event) error {
			for i := range events {
				if events[i].Kind == collector.Seen && events[i].Flow.State == collector.Done {
					done++
				}
			}
			return nil
		})
		if err == nil && done == n {
			return
		}
	}
	t.Fatal("flows did not end in conntrack")
}

// rowsOf reads all rows below dir, by the names of their columns.
func rowsOf(t *testing.T, dir string) []map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]string
	for _, name := range files {
		packed, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		r := csv.NewReader(z)
		r.Comment = '#'
		rows, err := r.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			m := map[string]string{}
			for i, name := range rows[0] {
				m[name] = row[i]
			}
			all = append(all, m)
		}
	}
	return all
}

// Each flow of a generator, through a real rule, is in the record once, with what is true of it; and a backtest reads
// the record.
func TestKernelRecord(t *testing.T) {
	t.Parallel()
	for _, anonymise := range []bool{false, true} {
		t.Run(fmt.Sprintf("anonymise=%t", anonymise), func(t *testing.T) {
			t.Parallel()
			ns := translating(t)
			dir := filepath.Join(t.TempDir(), "out")
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var out, errs bytes.Buffer
			ended := make(chan int, 1)
			args := []string{"record", "--out=" + dir, "--netns", fmt.Sprintf("/proc/self/fd/%d", ns.FD()), "--translated", "--poll-interval=100ms"}
			if anonymise {
				args = append(args, "--anonymise")
			}
			go func() { ended <- (&env{stdout: &out, stderr: &errs}).run(ctx, args) }()
			want := recordedFlows(t, ns)
			closedInConntrack(t, ns, 60)
			stop()
			if status := <-ended; status != statusOK {
				t.Fatalf("status %d: %s", status, errs.String())
			}

			got := map[string]string{}
			rows := rowsOf(t, dir)
			addresses := map[string]bool{}
			for _, r := range rows {
				addresses[r["destination"]], addresses[r["vip"]] = true, true
				if anonymise {
					r["destination"], r["vip"] = "127.0.0.2", "127.0.0.9"
				}
				got[r["protocol"]+" "+r["source_port"]] = fmt.Sprintf("%s:%s %s:%s %s", r["destination"], r["port"], r["vip"], r["vip_port"], r["reason"])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("flows (-want +got)\n%s", diff)
			}
			if len(rows) != len(want) || len(addresses) != 2 {
				t.Errorf("%d rows with addresses %v; want %d, two addresses", len(rows), addresses, len(want))
			}
			if anonymise == (addresses["127.0.0.2"] || addresses["127.0.0.9"]) {
				t.Errorf("addresses %v", addresses)
			}
			if want := "100 flows in 1 file, 40 of them live at the stop\n"; out.String() != want {
				t.Errorf("printed %q, want %q", out.String(), want)
			}

			status, stdout, stderr := runBacktest(t, dir, "--json")
			if status != statusOK || stderr != "" {
				t.Fatalf("backtest: status %d, %s", status, stderr)
			}
			if !json.Valid([]byte(stdout)) {
				t.Errorf("backtest printed %.200s", stdout)
			}
		})
	}
}

// The agent records what it reads for its ledgers, with the same rows.
func TestKernelAgentRecords(t *testing.T) {
	t.Parallel()
	ns := translating(t)
	dir := filepath.Join(t.TempDir(), "out")
	a := startAgent(t, fmt.Sprintf("--netns=/proc/self/fd/%d", ns.FD()), "--source=conntrack", "--strategy=poll",
		"--poll-interval=100ms", "--cpu-budget=1", "--record.out="+dir)
	want := recordedFlows(t, ns)
	for _, reason := range []string{"fin", "rst"} {
		a.eventually("the ledger has the flows that ended by "+reason, func() bool {
			return a.value(fmt.Sprintf(`snat_flows_closed_total{budget="auto",protocol="tcp",reason=%q}`, reason)) == 30
		})
	}
	if status := a.stop(); status != statusOK {
		t.Fatalf("status %d", status)
	}
	got := map[string]string{}
	for _, r := range rowsOf(t, dir) {
		got[r["protocol"]+" "+r["source_port"]] = fmt.Sprintf("%s:%s %s:%s %s", r["destination"], r["port"], r["vip"], r["vip_port"], r["reason"])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flows (-want +got)\n%s", diff)
	}
}

// A directory that cannot be written stops no agent: a notice says that nothing is recorded.
func TestKernelAgentCannotRecord(t *testing.T) {
	t.Parallel()
	ns := translating(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	a := startAgent(t, fmt.Sprintf("--netns=/proc/self/fd/%d", ns.FD()), "--source=conntrack", "--record.out="+file)
	a.eventually("it is exact", func() bool {
		return a.value(fmt.Sprintf(`snat_ledger_exact{netns="%d"}`, ns.Inode())) == 1
	})
	a.eventually("the log says so", func() bool {
		return strings.Contains(strings.Join(a.logs.All(), ""), "flows are not recorded: mkdir "+file)
	})
}

// Flows that sockets show are not recorded: whoever asked for a record learns it.
func TestKernelAgentOfSocketsDoesNotRecord(t *testing.T) {
	t.Parallel()
	ns := translating(t)
	a := startAgent(t, fmt.Sprintf("--netns=/proc/self/fd/%d", ns.FD()), "--source=sockets", "--record.out="+t.TempDir())
	a.eventually("the log says so", func() bool {
		return strings.Contains(strings.Join(a.logs.All(), ""), "flows are not recorded: a record needs conntrack")
	})
}

func TestRecordRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args   string
		status int
		want   string
	}{
		{"", statusUsage, "required flag"},
		{"--out=OUT --max-bytes=1KiB", statusError, "max-bytes 1024: want at least 1048576"},
		{"--out=OUT --rotate=1ms", statusError, "rotate 1ms: want at least 1s"},
		{"--out=OUT --netns=/nowhere", statusError, "/nowhere"},
	} {
		var out, errs bytes.Buffer
		args := append([]string{"record"}, strings.Fields(strings.ReplaceAll(tt.args, "OUT", t.TempDir()))...)
		status := (&env{stdout: &out, stderr: &errs}).run(t.Context(), args)
		if status != tt.status || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%q: status %d, %q; want %d, %q", tt.args, status, errs.String(), tt.status, tt.want)
		}
	}
}

// A recorder that is killed leaves files that can be read.
func TestKernelRecordKilled(t *testing.T) {
	t.Parallel()
	ns := translating(t)
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "record", "--out="+dir, "--poll-interval=100ms")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if err := ns.Do(cmd.Start); err != nil { // the child inherits the namespace of the thread that forks
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	recordedFlows(t, ns)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if files, _ := filepath.Glob(filepath.Join(dir, "*.csv.gz")); len(files) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no file came")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if rows := rowsOf(t, dir); len(rows) == 0 {
		t.Error("no row can be read")
	}
	if status, _, stderr := runBacktest(t, dir, "--json"); status != statusOK || stderr != "" {
		t.Errorf("backtest: status %d, %s", status, stderr)
	}
}
