package cloud

import (
	"context"
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
	var instance instanceAnswer
	if err := c.json(ctx, ofAzure(azureInstance), &instance); err != nil {
		return Metadata{}, fmt.Errorf("azure instance metadata: %w", err)
	}
	if instance.Compute == nil { // JSON, but of something else
		return Metadata{}, errNotFound
	}
	m := Metadata{
		Provider: "azure", Region: instance.Compute.Location, Zone: instance.Compute.Zone, Instance: instance.Compute.Name,
		PublicIPs: instance.publicIPs(),
	}
	var lb lbAnswer
	switch err := c.json(ctx, ofAzure(azureLB), &lb); {
	case errors.Is(err, errNotFound): // no load balancer, or one of the Basic SKU
		return m, nil
	case err != nil:
		return m, fmt.Errorf("azure load balancer metadata: %w", err)
	}
	m.VIPs = distinct(nil, lb.LoadBalancer.OutboundRules)
	m.PublicIPs = distinct(m.PublicIPs, lb.LoadBalancer.PublicIPAddresses)
	return m, nil
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
	for _, f := range fs {
		if a, err := netip.ParseAddr(f.Address); err == nil && a.Is4() && !slices.Contains(have, a) {
			have = append(have, a)
		}
	}
	slices.SortFunc(have, netip.Addr.Compare)
	return have
}
