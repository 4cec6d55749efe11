package cloud

import (
	"net/netip"
	"strings"
)

// Metadata is what a cloud tells an instance about itself and its way out.
type Metadata struct {
	// Provider is "azure", "aws" or "google", empty where no metadata service answered.
	Provider string
	// Region, Zone and Instance name where the instance is, and the instance; empty where the cloud does not tell. An
	// instance of Azure in no zone has none.
	Region, Zone, Instance string
	// Network is the VPC that an instance of AWS is in.
	Network string
	// AliasRanges: an instance of Google Cloud has an alias range of /24 or larger.
	AliasRanges bool
	// VIPs are the IPv4 frontends that the load balancer translates this instance to.
	VIPs []netip.Addr
	// PublicIPs are its own public addresses, one to one: no ports to share.
	PublicIPs []netip.Addr
}

// String says where the machine is, for a person.
func (m Metadata) String() string {
	parts := []string{m.Provider}
	for _, p := range [][2]string{
		{"region", m.Region}, {"zone", m.Zone}, {"network", m.Network}, {"instance", m.Instance},
	} {
		if p[1] != "" {
			parts = append(parts, p[0]+" "+p[1])
		}
	}
	return strings.Join(parts, ", ")
}
