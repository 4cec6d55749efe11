package kerneltest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// Gateway makes three namespaces; the one in the middle forwards from the client, 10.81.0.2 behind c0, to the server,
// 10.82.0.2 behind s0, under the rules of nft. They may have a flow table: see Lacks for a kernel that
// is built without.
func Gateway(t testing.TB, rules string) (client, middle, server *netns.Handle) {
	t.Helper()
	client, middle, server = Netns(t), Netns(t), Netns(t)
	for i, ns := range []*netns.Handle{client, server} {
		name := string("cs"[i]) + "0"
		Command(t, middle, "ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns",
			fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.FD()))
		subnet := fmt.Sprintf("10.8%d.0.", i+1)
		Command(t, middle, "sh", "-ec",
			"ip address add "+subnet+"1/24 dev "+name+"; ip link set "+name+" up")
		Command(t, ns, "sh", "-ec",
			"ip address add "+subnet+"2/24 dev eth0; ip link set eth0 up; ip route add default via "+subnet+"1")
	}
	nft := exec.Command(Program(t, "nft", "nftables"), "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	var out []byte
	err := middle.Do(func() (err error) { out, err = nft.CombinedOutput(); return err })
	if err != nil && bytes.Contains(out, []byte("flowtable")) {
		Lacks(t, "flowtable", fmt.Errorf("nft: %s", out))
	} else if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
	err = middle.Do(func() error {
		err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
		if strings.Contains(rules, "flowtable") {
			err = errors.Join(err, os.WriteFile("/proc/sys/net/netfilter/nf_flowtable_tcp_timeout", []byte("3"), 0))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return client, middle, server
}
