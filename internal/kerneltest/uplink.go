package kerneltest

import (
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// Uplink adds an interface to ns that is up and has addresses, given as prefixes such as 192.0.2.1/24.
func Uplink(t testing.TB, ns *netns.Handle, name string, addresses ...string) {
	t.Helper()
	err := ns.Do(func() error {
		link := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name},
			PeerName:  "to-" + name[:min(len(name), unix.IFNAMSIZ-1-len("to-"))],
		}
		if err := netlink.LinkAdd(link); err != nil {
			return err
		}
		for _, s := range addresses {
			a, err := netlink.ParseAddr(s)
			if err != nil {
				return err
			}
			if a.IP.To4() == nil {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(link, a); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	})
	if err != nil {
		t.Fatal(err)
	}
}
