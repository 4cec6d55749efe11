package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Azure's instance metadata service: learn.microsoft.com, howto-load-balancer-imds and
// instance-metadata-service.
const (
	azureInstance = "/metadata/instance?api-version=2021-02-01"
	azureLB       = "/metadata/loadbalancer?api-version=2020-10-01"
)

func ofAzure(path string) question {
	return question{path: path, headers: map[string]string{"Metadata": "true"}}
}

// azure asks Azure's service; the Metadata are empty where another one answers.
func (c Client) azure(ctx context.Context) (Metadata, error) {
	document, err := c.get(ctx, ofAzure(azureInstance))
	var m Metadata
	if err == nil {
		m, err = parseInstance(document)
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("azure instance metadata: %w", err)
	}
	document, err = c.get(ctx, ofAzure(azureLB))
	if errors.Is(err, errNotFound) { // no load balancer, or one of the Basic SKU
		return m, nil
	}
	var own []netip.Addr
	if err == nil {
		m.VIPs, own, err = parseLB(document)
	}
	if err != nil {
		return m, fmt.Errorf("azure load balancer metadata: %w", err)
	}
	m.PublicIPs = merged(m.PublicIPs, own)
	return m, nil
}

// parseInstance reads the instance's document. The error is errNotJSON where it is of another shape, errNotFound where
// it tells of no virtual machine.
func parseInstance(document []byte) (Metadata, error) {
	var a instanceAnswer
	if err := json.Unmarshal(document, &a); err != nil {
		return Metadata{}, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	if a.Compute == nil { // JSON, but of something else
		return Metadata{}, errNotFound
	}
	return Metadata{
		Provider: "azure", Region: a.Compute.Location, Zone: a.Compute.Zone, Instance: a.Compute.Name,
		PublicIPs: a.publicIPs(),
	}, nil
}

// parseLB reads the load balancer's document and returns the VIPs of its outbound rules and the public addresses of the
// instance. The error is errNotJSON where the document is of another shape.
func parseLB(document []byte) (vips, public []netip.Addr, err error) {
	var a lbAnswer
	if err := json.Unmarshal(document, &a); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	return distinct(nil, a.LoadBalancer.OutboundRules), distinct(nil, a.LoadBalancer.PublicIPAddresses), nil
}

type instanceAnswer struct {
	Compute *struct {
		Location string `json:"location"`
		Zone     string `json:"zone"`
		Name     string `json:"name"`
	} `json:"compute"`
	Network struct {
		Interface []struct {
			IPv4 struct {
				IPAddress []struct {
					Public string `json:"publicIpAddress"`
				} `json:"ipAddress"`
			} `json:"ipv4"`
		} `json:"interface"`
	} `json:"network"`
}

func (a *instanceAnswer) publicIPs() []netip.Addr {
	var fs []frontend
	for _, nic := range a.Network.Interface {
		for _, ip := range nic.IPv4.IPAddress {
			fs = append(fs, frontend{ip.Public})
		}
	}
	return distinct(nil, fs)
}

type lbAnswer struct {
	LoadBalancer struct {
		PublicIPAddresses []frontend `json:"publicIpAddresses"`
		OutboundRules     []frontend `json:"outboundRules"`
	} `json:"loadbalancer"`
}

type frontend struct {
	Address string `json:"frontendIpAddress"`
}

// distinct adds the IPv4 addresses, each once and in order. Other texts, such as an
// empty one or an IPv6 frontend, add nothing.
func distinct(have []netip.Addr, fs []frontend) []netip.Addr {
	var more []netip.Addr
	for _, f := range fs {
		if a, err := netip.ParseAddr(f.Address); err == nil && a.Is4() {
			more = append(more, a)
		}
	}
	return merged(have, more)
}

// merged returns the addresses of both lists, each once and in order.
func merged(a, b []netip.Addr) []netip.Addr {
	all := slices.Concat(a, b)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}
