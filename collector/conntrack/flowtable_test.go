package conntrack

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// flowTable is a gateway's rules: it masquerades what goes to the server, and hands established flows to a flow table.
const flowTable = `table ip gateway {
	flowtable fast { hook ingress priority 0; devices = { c0, s0 }; }
	chain forward { type filter hook forward priority 0; ip protocol tcp flow add @fast; }
	chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
}
`

// A flow whose packets a flow table sees is live, and so it is after it has left the table for silence: what is left of
// its timeout then does not say since when it is silent.
func TestKernelFlowTable(t *testing.T) {
	t.Parallel()
	client, middle, server := kerneltest.Gateway(t, flowTable)
	var listener net.Listener
	if err := server.Do(func() (err error) { listener, err = net.Listen("tcp4", "10.82.0.2:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	s := run(t, Config{Netns: middle, Strategy: Poll, Interval: 100 * time.Millisecond})
	var c net.Conn
	spoke := s.now() // before the last packet was sent
	connect := func() (err error) { c, err = net.Dial("tcp4", listener.Addr().String()); return err }
	if err := client.Do(connect); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	src := source(c)

	oracle := dialOracle(t, middle)
	offloaded := func() bool {
		t.Helper()
		flows, err := oracle.Dump(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range flows {
			if f.TupleOrig.Proto.SourcePort == src.Port() {
				return uint32(f.Status)&ipsOffload != 0
			}
		}
		t.Fatal("conntrack lost the flow")
		return false
	}
	// seen returns the flow as a dump shows it that begins from now on.
	seen := func() (f collector.Flow) {
		t.Helper()
		from := s.now()
		s.await("a dump that shows the flow", func(r *record) bool {
			begun := false
			for _, e := range r.events {
				begun = begun || e.Kind == collector.Begin && e.At >= from
				if begun && e.Kind == collector.Seen && e.Flow.Source == src {
					f = e.Flow
					return true
				}
			}
			return false
		})
		return f
	}
	for deadline := time.Now().Add(time.Minute); !offloaded(); {
		if time.Now().After(deadline) {
			t.Fatal("the flow table does not take the flow")
		}
		spoke = s.now()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	live := func(when string) {
		t.Helper()
		f := seen()
		if f.State != collector.Established || f.VIP != netip.AddrPortFrom(addr("10.82.0.1"), f.VIP.Port()) || !f.Translated {
			t.Errorf("%s: %+v", when, f)
		}
		if f.Active != 0 && f.Active < spoke {
			t.Errorf("%s: silent for %v, was for %v", when, s.now().Sub(f.Active), s.now().Sub(spoke))
		}
	}
	live("in the flow table")
	for deadline := time.Now().Add(2 * time.Minute); offloaded(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the flow table keeps the flow")
		}
	}
	live("out of it")
	_ = c.Close()
	done := func(f *collector.Flow) bool { return f.State == collector.Done }
	if f := s.last(collector.Seen, src, done); f.Reason != collector.FIN {
		t.Errorf("closed: %+v", f)
	}
}
