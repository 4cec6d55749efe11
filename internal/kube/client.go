// Package kube watches objects of a Kubernetes API server by their metadata alone, over plain HTTP: what the
// agent needs of a cluster, without the client library that would double its size.
package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// serviceAccount is where a pod finds its token and the API server's certificate authority.
const serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

// ErrNoCluster is what InCluster returns outside a pod.
var ErrNoCluster = errors.New("no API server: this is no pod with a service account")

// Client asks one API server. The zero value asks nobody.
type Client struct {
	server    string
	tokenFile string
	http      *http.Client
}

// InCluster returns a client for the API server of the cluster that this pod is in.
func InCluster() (*Client, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, ErrNoCluster
	}
	return New("https://"+net.JoinHostPort(host, port), serviceAccount)
}

// New returns a client for a server whose certificate authority is the file ca.crt in folder, and which knows
// us by the file token there. The token is read for each request, because it is replaced every hour.
func New(server, folder string) (*Client, error) {
	pem, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoCluster, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(folder, "ca.crt"))
	}
	return &Client{
		server: server, tokenFile: filepath.Join(folder, "token"),
		http: &http.Client{
			Transport: &http.Transport{
				TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
				DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
				TLSHandshakeTimeout:   5 * time.Second,
				ResponseHeaderTimeout: 30 * time.Second,
				ForceAttemptHTTP2:     true,
				// A watch is silent for minutes: one that hangs is found after half a minute.
				HTTP2:           &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 10 * time.Second},
				IdleConnTimeout: time.Minute,
			},
			// A token must not go to another server.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// statusError is an answer of the server that is no object.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("API server: %s: %s", http.StatusText(e.code), e.text)
}

// expired reports whether err means that the server no longer knows the version that was asked for.
func expired(err error) bool {
	var e *statusError
	return errors.As(err, &e) && (e.code == http.StatusGone || e.code == http.StatusGatewayTimeout)
}

// refused reports whether err means that we may not ask for this.
func refused(err error) bool {
	var e *statusError
	return errors.As(err, &e) && (e.code == http.StatusForbidden || e.code == http.StatusUnauthorized)
}

// missing reports whether err means that there is no such object.
func missing(err error) bool {
	var e *statusError
	return errors.As(err, &e) && e.code == http.StatusNotFound
}

// get asks for path; accept is the kind of answer. The caller closes the body.
func (c *Client) get(ctx context.Context, path, accept string, query url.Values) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", "snatwatch")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, readStatus(resp)
	}
	return resp.Body, nil
}

// readStatus reads the metav1.Status that a refusal brings.
func readStatus(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // as much as came is reported
	var status struct {
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &status); err != nil || status.Message == "" {
		status.Message = fmt.Sprintf("%.200q", body)
	}
	return &statusError{resp.StatusCode, status.Message}
}
