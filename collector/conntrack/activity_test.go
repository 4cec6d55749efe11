package conntrack

import (
	"net"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

func TestParsePackets(t *testing.T) {
	t.Parallel()
	const head = "Ip: Forwarding OutRequests\nIp: 1 77\n"
	tests := []struct {
		name, snmp, snmp6 string
		want              uint64
	}{
		{name: "nothing"},
		{name: "UDP of both families", snmp: head + "Udp: InDatagrams OutDatagrams\nUdp: 5 6\n", snmp6: "Udp6OutDatagrams\t4\nIp6OutRequests 9\n", want: 10},
		{name: "TCP without a connection", snmp: "Tcp: MaxConn CurrEstab OutSegs\nTcp: -1 0 9\n"},
		{name: "TCP", snmp: "Tcp: MaxConn CurrEstab OutSegs\nTcp: -1 1 9\n", want: 9},
		{name: "names without values", snmp: "Udp: OutDatagrams\nTcp: CurrEstab OutSegs\nTcp: 1\nTcp: 1 2"},
		{name: "no numbers", snmp: "Udp: OutDatagrams\nUdp: many\n", snmp6: "Udp6OutDatagrams many"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := parsePackets(tt.snmp, tt.snmp6); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func FuzzParsePackets(f *testing.F) {
	f.Add("Udp: InDatagrams OutDatagrams\nUdp: 5 6\n", "Udp6OutDatagrams 4\n")
	f.Add("Tcp: MaxConn CurrEstab OutSegs\nTcp: -1 1 9\n", "")
	f.Fuzz(func(_ *testing.T, snmp, snmp6 string) { parsePackets(snmp, snmp6) })
}

// A namespace without a rule that asks for conntrack shows traffic and no entry; one with does not.
func TestKernelActivity(t *testing.T) {
	t.Parallel()
	plain, nat := kerneltest.Netns(t), natNetns(t, nil)
	for _, tt := range []struct {
		name string
		want Activity
	}{{"plain", Inactive}, {"nat", Active}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ns := plain
			if tt.name == "nat" {
				ns = nat
			}
			p, err := OpenProbe(ns)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close() }()
			now := time.Now()
			look := func(after time.Duration, want Activity) {
				t.Helper()
				got, err := p.Look(t.Context(), now.Add(after))
				if err != nil || got != want {
					t.Errorf("after %v: %v, %v; want %v", after, got, err, want)
				}
			}
			look(0, Undecided)
			look(5*time.Second, Undecided) // nothing was sent
			err = ns.Do(func() error {
				c, err := net.Dial("udp", "127.0.0.1:9")
				if err != nil {
					return err
				}
				defer func() { _ = c.Close() }()
				_, err = c.Write([]byte("?"))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			look(6*time.Second, tt.want)
			if tt.want == Inactive {
				look(7*time.Second, Undecided) // nothing more was sent
			}
		})
	}
}
