package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path"
	"strings"
)

// googleInstance is the whole document of Compute Engine's metadata server: docs.cloud.google.com,
// compute/docs/metadata/querying-metadata and predefined-metadata-keys.
const googleInstance = "/computeMetadata/v1/instance/?recursive=true"

type googleAnswer struct {
	ID                uint64 `json:"id"`
	Name              string `json:"name"`
	Zone              string `json:"zone"` // projects/123/zones/europe-west1-b
	NetworkInterfaces []struct {
		AccessConfigs []struct {
			ExternalIP string `json:"externalIp"`
		} `json:"accessConfigs"`
		IPAliases []string `json:"ipAliases"`
	} `json:"networkInterfaces"`
}

// google asks Compute Engine's service, which takes only who knows its name and signs its answers with it.
func (c Client) google(ctx context.Context) (Metadata, error) {
	document, err := c.get(ctx, question{
		path: googleInstance, headers: map[string]string{"Metadata-Flavor": "Google"}, flavor: "Google",
	})
	var m Metadata
	if err == nil {
		m, err = parseGoogle(document)
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("google instance metadata: %w", err)
	}
	return m, nil
}

// parseGoogle reads the instance's document. The error is errNotJSON where it is of another shape.
func parseGoogle(document []byte) (Metadata, error) {
	var a googleAnswer
	if err := json.Unmarshal(document, &a); err != nil {
		return Metadata{}, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	m := Metadata{Provider: "google", Zone: path.Base(a.Zone), Instance: a.Name}
	if a.Zone == "" {
		m.Zone = ""
	}
	if i := strings.LastIndexByte(m.Zone, '-'); i > 0 { // europe-west1-b is a zone of europe-west1
		m.Region = m.Zone[:i]
	}
	if m.Instance == "" && a.ID != 0 {
		m.Instance = fmt.Sprint(a.ID)
	}
	for _, nic := range a.NetworkInterfaces {
		for _, access := range nic.AccessConfigs {
			m.PublicIPs = distinct(m.PublicIPs, []frontend{{access.ExternalIP}})
		}
		for _, alias := range nic.IPAliases {
			if p, err := netip.ParsePrefix(alias); err == nil && p.Addr().Is4() && p.Bits() <= 24 {
				m.AliasRanges = true
			}
		}
	}
	return m, nil
}
