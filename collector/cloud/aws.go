package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// EC2's instance metadata service, version 2, which wants a token: docs.aws.amazon.com,
// AWSEC2/latest/UserGuide/configuring-instance-metadata-service and instancedata-data-categories.
const (
	awsToken    = "/latest/api/token"
	awsIdentity = "/latest/dynamic/instance-identity/document"
	awsMAC      = "/latest/meta-data/mac"
	awsMACs     = "/latest/meta-data/network/interfaces/macs/"
	// awsTTL is for how long a token serves, in seconds.
	awsTTL = "60"
	// maxInterfaces bounds the interfaces that are asked about: no instance type has more than 32.
	maxInterfaces = 32
)

type awsAnswer struct {
	Instance string `json:"instanceId"`
	Region   string `json:"region"`
	Zone     string `json:"availabilityZone"`
}

// aws asks EC2's service. The token comes back to who is one hop away at most, unless the instance allows more.
func (c Client) aws(ctx context.Context) (Metadata, error) {
	token, err := c.get(ctx, question{
		method: http.MethodPut, path: awsToken, headers: map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": awsTTL},
	})
	if err != nil {
		return Metadata{}, fmt.Errorf("aws metadata token: %w", err)
	}
	ask := func(path string) question {
		return question{path: path, headers: map[string]string{"X-aws-ec2-metadata-token": string(token)}}
	}
	document, err := c.get(ctx, ask(awsIdentity))
	var m Metadata
	if err == nil {
		m, err = parseIdentity(document)
	}
	if err != nil {
		return Metadata{}, fmt.Errorf("aws instance identity: %w", err)
	}
	text := func(path string) (string, error) {
		body, err := c.get(ctx, ask(path))
		if errors.Is(err, errNotFound) { // the instance has no such thing
			return "", nil
		}
		return strings.TrimSpace(string(body)), err
	}
	macs, err := text(awsMACs)
	if err != nil {
		return m, fmt.Errorf("aws interface metadata: %w", err)
	}
	for i, mac := range strings.Fields(macs) {
		if i == maxInterfaces {
			break
		}
		public, err := text(awsMACs + strings.TrimSuffix(mac, "/") + "/public-ipv4s")
		if err != nil {
			return m, fmt.Errorf("aws interface metadata: %w", err)
		}
		for _, ip := range strings.Fields(public) {
			m.PublicIPs = distinct(m.PublicIPs, []frontend{{ip}})
		}
	}
	primary, err := text(awsMAC)
	if err == nil && primary != "" {
		m.Network, err = text(awsMACs + primary + "/vpc-id")
	}
	if err != nil {
		return m, fmt.Errorf("aws interface metadata: %w", err)
	}
	return m, nil
}

// parseIdentity reads the instance's identity document. The error is errNotJSON where it is of another shape,
// errNotFound where it names no instance.
func parseIdentity(document []byte) (Metadata, error) {
	var a awsAnswer
	if err := json.Unmarshal(document, &a); err != nil {
		return Metadata{}, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	if a.Instance == "" { // JSON, but of something else
		return Metadata{}, errNotFound
	}
	return Metadata{Provider: "aws", Region: a.Region, Zone: a.Zone, Instance: a.Instance}, nil
}
