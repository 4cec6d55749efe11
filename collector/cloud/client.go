package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// metadataURL is the link-local address at which all three clouds answer.
	metadataURL    = "http://169.254.169.254"
	maxAnswer      = 1 << 20
	maxAttempts    = 3
	defaultTimeout = 2 * time.Second
	// connectTimeout bounds how long an agent in no cloud waits at its start: the service is on the machine's own host
	// and takes a connection in a millisecond, or at the next question.
	connectTimeout   = 300 * time.Millisecond
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

// Ask asks the metadata service, as each cloud wants to be asked. Where none answers, or one of no known cloud, the
// Metadata are empty and err is nil. An error with empty Metadata wraps ErrRefused where it is not known to be of a
// cloud.
func (c Client) Ask(ctx context.Context) (Metadata, error) {
	var refused error
	for _, ask := range []func(context.Context) (Metadata, error){c.azure, c.google, c.aws} {
		m, err := ask(ctx)
		switch {
		case m.Provider != "", err == nil:
			return m, err
		case errors.Is(err, errNoService):
			return Metadata{}, nil
		case errors.Is(err, ErrRefused):
			if refused == nil {
				refused = err
			}
		case !errors.Is(err, errNotFound) && !errors.Is(err, errNotJSON):
			return m, err
		}
	}
	return Metadata{}, refused
}

var (
	// errNoService: nothing answers there.
	errNoService = errors.New("no metadata service")
	// errNotFound: the service knows nothing of it.
	errNotFound = errors.New("not found")
	// errNotJSON: what answers is no service of that cloud, or has changed.
	errNotJSON = errors.New("an answer that is not the JSON expected")
)

// question is one request to a metadata service.
type question struct {
	method  string // default GET
	path    string
	headers map[string]string
	// flavor is what the answer must have as its Metadata-Flavor, empty for whatever it has.
	flavor string
}

// get asks and tries again while the service is busy.
func (c Client) get(ctx context.Context, q question) ([]byte, error) {
	wait := c.RetryWait
	if wait <= 0 {
		wait = defaultRetryWait
	}
	for attempt := 1; ; attempt++ {
		body, busy, err := c.try(ctx, q)
		if !busy || attempt == maxAttempts {
			return body, err
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
func (c Client) try(ctx context.Context, q question) (body []byte, busy bool, err error) {
	timeout, url := c.Timeout, c.URL
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if url == "" {
		url = metadataURL
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.method, url+q.path, http.NoBody)
	if err != nil {
		return nil, false, err
	}
	for name, value := range q.headers {
		req.Header.Set(name, value)
	}
	// No proxy, which the services refuse, and no redirect to somewhere else.
	client := http.Client{
		Transport: &http.Transport{
			Proxy: nil, DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: connectTimeout}).DialContext,
		},
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
	if q.flavor != "" && res.Header.Get("Metadata-Flavor") != q.flavor {
		return nil, false, errNotFound
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, false, fmt.Errorf("read answer: %w", err)
	}
	return body, false, nil
}
