package cloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// Azure's instance metadata service: learn.microsoft.com, howto-load-balancer-imds and
// instance-metadata-service.
const (
	metadataURL      = "http://169.254.169.254"
	azureInstance    = "/metadata/instance?api-version=2021-02-01"
	azureLB          = "/metadata/loadbalancer?api-version=2020-10-01"
	maxAnswer        = 1 << 20
	maxAttempts      = 3
	defaultTimeout   = 2 * time.Second
	defaultRetryWait = time.Second
)

// Client asks a metadata service. The zero value asks the one at its well-known address.
type Client struct {
	// URL of the service, without a path.
	URL string
	// Timeout of one request, default 2 s.
	Timeout time.Duration
	// RetryWait is how long to wait before a second try when the service is busy,
	// doubled for a third; default 1 s.
	RetryWait time.Duration
}

// ErrRefused tells of a service that answers and refuses the question: Azure's does so to what came
// through a proxy, but something else may be at its address.
var ErrRefused = errors.New("refused")

// Ask asks the metadata service. Where none answers, or one of no known cloud, the
// Metadata are empty and err is nil. An error with empty Metadata wraps ErrRefused where it is
// not known to be Azure's.
func (c Client) Ask(ctx context.Context) (Metadata, error) {
	answer, err := c.get(ctx, azureInstance)
	switch {
	case errors.Is(err, errNoService), errors.Is(err, errNotFound):
		return Metadata{}, nil
	case err != nil:
		return Metadata{}, fmt.Errorf("azure instance metadata: %w", err)
	}
	public, err := parseInstance(answer)
	if err != nil { // a service of something else
		return Metadata{}, nil
	}
	m := Metadata{Provider: "azure", PublicIPs: public}
	answer, err = c.get(ctx, azureLB)
	if errors.Is(err, errNotFound) { // no load balancer, or one of the Basic SKU
		return m, nil
	}
	var own []netip.Addr
	if err == nil {
		m.VIPs, own, err = parseLB(answer)
	}
	if err != nil {
		return m, fmt.Errorf("azure load balancer metadata: %w", err)
	}
	m.PublicIPs = distinct(m.PublicIPs, own)
	return m, nil
}

type instanceAnswer struct {
	Compute *struct{} `json:"compute"`
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

// parseInstance reads the instance's document and returns its public IPv4 addresses, each once and in order.
// The error is errNotJSON where the document is of another shape.
func parseInstance(document []byte) ([]netip.Addr, error) {
	var a instanceAnswer
	if err := json.Unmarshal(document, &a); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	if a.Compute == nil {
		return nil, errNotJSON
	}
	var fs []frontend
	for _, nic := range a.Network.Interface {
		for _, ip := range nic.IPv4.IPAddress {
			fs = append(fs, frontend{ip.Public})
		}
	}
	return addresses(fs), nil
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

// parseLB reads the load balancer's document and returns the VIPs of its outbound rules and the public addresses of the
// instance, each once and in order. The error is errNotJSON where the document is of another shape.
func parseLB(document []byte) (vips, public []netip.Addr, err error) {
	var a lbAnswer
	if err := json.Unmarshal(document, &a); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errNotJSON, err)
	}
	return addresses(a.LoadBalancer.OutboundRules), addresses(a.LoadBalancer.PublicIPAddresses), nil
}

// addresses returns the IPv4 addresses, each once and in order. Other texts, such as an
// empty one or an IPv6 frontend, add nothing.
func addresses(fs []frontend) (list []netip.Addr) {
	for _, f := range fs {
		if a, err := netip.ParseAddr(f.Address); err == nil && a.Is4() {
			list = append(list, a)
		}
	}
	return distinct(nil, list)
}

// distinct returns the addresses of both lists, each once and in order.
func distinct(a, b []netip.Addr) []netip.Addr {
	all := slices.Concat(a, b)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

var (
	// errNoService: nothing answers there.
	errNoService = errors.New("no metadata service")
	// errNotFound: the service knows nothing of it.
	errNotFound = errors.New("not found")
	// errNotJSON: what answers is no service of Azure's, or has changed.
	errNotJSON = errors.New("an answer that is not the JSON expected")
)

// get asks for one document and tries again while the service is busy.
func (c Client) get(ctx context.Context, path string) ([]byte, error) {
	wait := c.RetryWait
	if wait <= 0 {
		wait = defaultRetryWait
	}
	for attempt := 1; ; attempt++ {
		document, busy, err := c.try(ctx, path)
		if !busy || attempt == maxAttempts {
			return document, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(wait):
		}
		wait *= 2
	}
}

// try asks once. busy says that it is worth another try.
func (c Client) try(ctx context.Context, path string) (document []byte, busy bool, err error) {
	timeout, url := c.Timeout, c.URL
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if url == "" {
		url = metadataURL
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, http.NoBody)
	if err != nil {
		return nil, false, err
	}
	req.Header.Set("Metadata", "true")
	// No proxy, which the service refuses, and no redirect to somewhere else.
	client := http.Client{
		Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errNoService, err)
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInternalServerError, http.StatusGone:
		return nil, true, fmt.Errorf("status %s", res.Status)
	case http.StatusBadRequest, http.StatusForbidden:
		return nil, false, fmt.Errorf("status %s: %w", res.Status, ErrRefused)
	default:
		return nil, false, fmt.Errorf("status %s: %w", res.Status, errNotFound)
	}
	document, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, false, fmt.Errorf("read answer: %w", err)
	}
	return document, false, nil
}
