package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// A UDP socket that sends to many, as that of a resolver, a client of QUIC or slirp4netns, is connected to none: its
// flows are its process's all the same.
func TestKernelOwnerOfBoundSockets(t *testing.T) {
	_, middle, _ := kerneltest.Gateway(t, `table ip n {
		chain post { type nat hook postrouting priority 100; oifname "s0" masquerade; }
	}`)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	to := func(port int) *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(10, 82, 0, 2), Port: port} }
	err := middle.Do(func() error {
		err := os.WriteFile("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", []byte("600"), 0)
		connected, dial := net.DialUDP("udp4", nil, to(1000))
		err = errors.Join(err, dial)
		if err != nil {
			return err
		}
		open = append(open, connected)
		_, err = connected.Write([]byte("x"))
		for i, at := range []struct{ network, address string }{{"udp4", "0.0.0.0:0"}, {"udp4", "10.82.0.1:0"}, {"udp", "[::]:0"}} {
			c, bind := net.ListenPacket(at.network, at.address)
			if bind != nil {
				return bind
			}
			open = append(open, c.(net.Conn))
			for _, port := range []int{1001 + i, 2001 + i} {
				_, send := c.WriteTo([]byte("x"), to(port))
				err = errors.Join(err, send)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := newQuietAgent(t, fmt.Sprintf("cloud_metadata: false\nnetns: /proc/self/fd/%d\n", middle.FD()), cloud.Client{})
	ctx, cancel := context.WithCancel(t.Context())
	a.owners.watcher.Look(ctx) // as the agent does at its start
	var group sync.WaitGroup
	group.Go(func() { _ = a.owners.run(ctx) })
	group.Go(func() { _ = a.sensors.run(ctx) })
	defer group.Wait()
	defer cancel()

	// of returns by destination the owners of the flows to it under the NAT's budget.
	of := func() map[string]collector.OwnerKind {
		found := map[string]collector.OwnerKind{}
		s := a.publisher.state.Load()
		if s == nil || !s.Ready {
			return found
		}
		for _, b := range s.View.Snapshot.Budgets {
			for _, p := range b.Protocols {
				for _, space := range p.Spaces {
					for _, o := range space.Owners {
						if b.Budget.Name == "auto" {
							found[space.Destination] = o.Kind
						}
					}
				}
			}
		}
		return found
	}
	var want, got map[string]collector.OwnerKind
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		got = of()
		mine := got["10.82.0.2:1000"] // how the connected socket's is known depends on the machine's cgroups
		if mine == "" || mine == collector.KindUnknown {
			continue
		}
		want = map[string]collector.OwnerKind{}
		for _, port := range []int{1000, 1001, 1002, 1003, 2001, 2002, 2003} {
			want[to(port).String()] = mine
		}
		if cmp.Equal(want, got) {
			return
		}
	}
	t.Errorf("owners by destination (-want +got):\n%s", cmp.Diff(want, got))
}
