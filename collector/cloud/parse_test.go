package cloud

import (
	"net/netip"
	"slices"
	"testing"
)

// Whatever stands at the metadata service's address, a document gives IPv4 addresses, each once and in order, or an
// error and none.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"compute":{"name":"web_3"},"network":{"interface":[{"ipv4":{"ipAddress":[` +
		`{"privateIpAddress":"10.1.0.4","publicIpAddress":"203.0.113.7"},{"publicIpAddress":""},{"publicIpAddress":"203.0.113.7"}]}}]}}`))
	f.Add([]byte(`{"loadbalancer":{"publicIpAddresses":[{"frontendIpAddress":"203.0.113.9","privateIpAddress":"10.1.0.4"}],` +
		`"outboundRules":[{"frontendIpAddress":"203.0.113.2"},{"frontendIpAddress":"2001:db8::1"},{"frontendIpAddress":"203.0.113.1"}]}}`))
	f.Add([]byte(`{"id":4711,"name":"web-3","zone":"projects/1/zones/europe-west1-b","networkInterfaces":[{"accessConfigs":` +
		`[{"externalIp":"203.0.113.8"}],"ipAliases":["10.4.0.0/24"]}]}`))
	f.Add([]byte(`{"instanceId":"i-0a1b","region":"eu-west-1","availabilityZone":"eu-west-1b"}`))
	f.Add([]byte(`{"compute":null,"loadbalancer":[]}`))
	f.Add([]byte(`<html>`))
	f.Fuzz(func(t *testing.T, document []byte) {
		check := func(list []netip.Addr, err error) {
			t.Helper()
			if err != nil && list != nil {
				t.Errorf("%v beside an error: %v", list, err)
			}
			for i, a := range list {
				if !a.Is4() || i > 0 && list[i-1].Compare(a) >= 0 {
					t.Errorf("%v: want IPv4, each once and in order", list)
				}
			}
		}
		instance, err := parseInstance(document)
		check(instance.PublicIPs, err)
		google, err := parseGoogle(document)
		check(google.PublicIPs, err)
		if identity, err := parseIdentity(document); err == nil && identity.Instance == "" {
			t.Error("an identity without an instance")
		}
		vips, public, err := parseLB(document)
		check(vips, err)
		check(public, err)
		both := merged(instance.PublicIPs, public)
		check(both, nil)
		for _, a := range slices.Concat(instance.PublicIPs, public) {
			if !slices.Contains(both, a) {
				t.Errorf("%v lacks %v", both, a)
			}
		}
	})
}
