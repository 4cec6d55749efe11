package cloud

import "net/netip"

// Metadata is what a cloud tells an instance about its way out.
type Metadata struct {
	// Provider is "azure", empty where no metadata service answered.
	Provider string
	// VIPs are the IPv4 frontends that the load balancer translates this instance to.
	VIPs []netip.Addr
	// PublicIPs are its own public addresses, one to one: no ports to share.
	PublicIPs []netip.Addr
}
