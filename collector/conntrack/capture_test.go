package conntrack

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/nlraw"
	"github.com/snatwatch/snatwatch/internal/golden"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// richNetns is a namespace where the kernel is made to add to an entry all that it can: NAT,
// zones, accounting, timestamps, labels and a helper.
func richNetns(t testing.TB) *netns.Handle {
	t.Helper()
	ns := natNetns(t, map[string]string{"timestamp": "1", "acct": "1", "events": "1"})
	kerneltest.Command(t, ns, "nft", `
		table inet rich {
			ct helper ftp-standard { type "ftp" protocol tcp; }
			chain raw { type filter hook output priority raw; udp dport 5353 ct zone set 7; udp sport 5353 ct zone set 7; }
			chain rawin { type filter hook prerouting priority raw; udp dport 5353 ct zone set 7; udp sport 5353 ct zone set 7; }
			chain out {
				type filter hook output priority filter;
				tcp dport 21 ct helper set "ftp-standard"
				ct mark set 0x2a
				tcp dport != 21 ct label set 5
			}
		}`)
	return ns
}

// richTraffic leaves one flow of each kind in a namespace of richNetns: translated and not, IPv4 and
// IPv6, in a zone, under a helper, of a protocol without ports.
func richTraffic(t testing.TB, ns *netns.Handle) {
	t.Helper()
	var open []interface{ Close() error }
	t.Cleanup(func() {
		for _, c := range open {
			_ = c.Close()
		}
	})
	err := ns.Do(func() error {
		for _, a := range []string{"127.0.0.2:80", "127.0.0.3:80", "127.0.0.3:21", "[::1]:80"} {
			l, err := net.Listen("tcp", a)
			if err != nil {
				return err
			}
			c, err := net.Dial("tcp", a)
			if err != nil {
				return err
			}
			open = append(open, l, c)
		}
		for _, a := range []string{"127.0.0.2:53", "127.0.0.3:5353", "[::1]:53"} {
			l, err := net.ListenPacket("udp", a)
			if err != nil {
				return err
			}
			c, err := net.Dial("udp", a)
			if err != nil {
				return err
			}
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
			_, from, err := l.ReadFrom(make([]byte, 8))
			if err != nil {
				return err
			}
			if _, err := l.WriteTo([]byte("!"), from); err != nil {
				return err
			}
			open = append(open, l, c)
		}
		return ping()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// ping sends an ICMP echo request to 127.0.0.3.
func ping() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	request := []byte{8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1} // type, code, checksum, id, sequence
	return unix.Sendto(fd, request, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 3}})
}

// Real flows agree with ti-mo's view of them too, with everything switched on.
func TestKernelRichTableAgreesWithOracle(t *testing.T) {
	t.Parallel()
	ns := richNetns(t)
	richTraffic(t, ns)
	flows := agree(t, ns, Config{})
	var zones, translated, six, stamped int
	for _, f := range flows {
		if f.Zone == 7 {
			zones++
		}
		if f.Translated {
			translated++
		}
		if f.Source.Addr().Is6() {
			six++
		}
		if f.Opened.Exact() {
			stamped++
		}
	}
	if len(flows) != 7 || zones != 1 || translated != 2 || six != 2 || stamped != 7 {
		t.Errorf("%d flows: %d in a zone, %d translated, %d of IPv6, %d stamped", len(flows), zones, translated, six, stamped)
	}

	// The stamps are ti-mo's, put on the agent's clock.
	all, err := dialOracle(t, ns).Dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	helpers, labels, accounted := 0, 0, 0
	for _, f := range all {
		if f.Helper.Name == "ftp" {
			helpers++
		}
		if slices.ContainsFunc(f.Labels, func(b byte) bool { return b != 0 }) {
			labels++
		}
		if f.CountersOrig.Packets > 0 {
			accounted++
		}
		i := slices.IndexFunc(flows, func(o collector.Flow) bool { return o.ID == f.ID })
		if i < 0 {
			continue
		}
		if d := time.Duration(int64(flows[i].Opened.To) - f.Timestamp.Start.UnixNano()); d < -tolerance || d > tolerance {
			t.Errorf("%v opened %v from its stamp", flows[i].Source, d)
		}
	}
	if helpers != 1 || labels == 0 || accounted != len(all) {
		t.Errorf("the table was to be rich: %d helpers, %d labels, %d of %d accounted", helpers, labels, accounted, len(all))
	}
}

// The test writes the captured messages: go test -run TestKernelCapture -update.
func TestKernelCapture(t *testing.T) {
	if !golden.Update() {
		t.Skip("writes files: -update runs it")
	}
	dir := filepath.Join("testdata", kerneltest.Release(t))
	write := func(name string, b []byte) { golden.Write(t, filepath.Join(dir, name+".bin"), b) }

	ns := richNetns(t)
	// A request waits until nf_conntrack_netlink is loaded. To join a group loads it too, but does not wait, and what
	// happens before is not announced.
	if _, err := dialOracle(t, ns).Dump(nil); err != nil {
		t.Fatal(err)
	}
	events, err := dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = events.Close() }()
	for _, g := range []uint32{unix.NFNLGRP_CONNTRACK_NEW, unix.NFNLGRP_CONNTRACK_DESTROY} {
		if err := events.Netlink().JoinGroup(g); err != nil {
			t.Fatal(err)
		}
	}
	richTraffic(t, ns)
	conn, err := dial(ns.FD())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	get := func(name string, typ netlink.HeaderType, dump bool) {
		n := 0
		message := func(m nlraw.Message) error {
			n++
			var msg message
			file := fmt.Sprintf("%s-%d", name, n)
			if typ == msgGet && parseMessage(m.Data, &msg) == nil {
				file = fmt.Sprintf("%s-%s", name, captureName(&msg))
			}
			write(file, m.Data)
			return nil
		}
		req := netlink.Message{Header: netlink.Header{Type: typ}, Data: make([]byte, sizeofNfgenmsg)}
		if dump {
			err = conn.Dump(t.Context(), req, nil, message)
		} else {
			err = conn.Get(t.Context(), req, message)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	get("dump", msgGet, true)
	get("stats-cpu", msgGetStatsCPU, true)
	get("stats", msgGetStats, false)
	if err := dialOracle(t, ns).Flush(); err != nil {
		t.Fatal(err)
	}
	datagrams := nlraw.NewDatagrams(64)
	if err := events.ReceiveReady(datagrams); err != nil {
		t.Fatal(err)
	}
	for i := range datagrams.Len() {
		b, _ := datagrams.Datagram(i)
		m, _, err := nlraw.Next(b)
		if err != nil {
			t.Fatal(err)
		}
		var msg message
		if err := parseMessage(m.Data, &msg); err != nil {
			t.Fatal(err)
		}
		name := "new"
		if m.Type == msgDelete {
			name = "destroy"
		}
		write(name+"-"+captureName(&msg), m.Data)
	}
}

func captureName(m *message) string {
	name := strings.ReplaceAll(m.orig.proto.String(), "protocol ", "proto") + fmt.Sprint(m.reply.src.Port())
	if m.orig.src.Addr().Is6() {
		name += "-v6"
	}
	if m.status&ipsSrcNAT != 0 {
		name += "-nat"
	}
	if m.zone != 0 {
		name += "-zone"
	}
	if m.hasHelper {
		name += "-helper"
	}
	return name
}

// captured returns the messages under testdata, by kernel and name.
func captured(t testing.TB, prefix string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/*/" + prefix + "*.bin")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captured messages %s*: %v", prefix, err)
	}
	m := map[string][]byte{}
	for _, f := range files {
		if m[f], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// stampsEvents reports whether the kernel that sent the captured message sends CTA_TIMESTAMP_EVENT (Linux 6.14).
func stampsEvents(path string) bool {
	kernel := filepath.Base(filepath.Dir(path))
	return kernel != "linux-6.1" && kernel != "linux-6.12"
}
