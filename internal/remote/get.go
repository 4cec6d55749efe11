package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	// patience is how long one answer may take.
	patience = 30 * time.Second
	// answerMost bounds one answer, in bytes.
	answerMost = 64 << 20
)

// base makes a URL of what a user gives: a URL, or a host and port. Paths of the API are added to it.
func base(given string) (*url.URL, error) {
	text := given
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(strings.TrimRight(text, "/"))
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", given, err)
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("address %q: want host:port or http(s)://host:port", given)
	}
	return u, nil
}

// failure is an answer that says no.
type failure struct {
	status int
	text   string
}

func (f *failure) Error() string { return fmt.Sprintf("answers %d: %s", f.status, f.text) }

// do sends a request and returns the body of its answer, which the caller closes.
func do(ctx context.Context, method, to string, form url.Values) (io.ReadCloser, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return nil, err
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, plain(err)
	}
	if answer.StatusCode/100 == 2 {
		return answer.Body, nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 2048)) // what there is of it
	return nil, &failure{answer.StatusCode, reason(text)}
}

// reason returns the message of an error's body: the field "error" of JSON, or its first line.
func reason(body []byte) string {
	var told struct{ Error string }
	if json.Unmarshal(body, &told) == nil && told.Error != "" {
		return told.Error
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	if line == "" {
		return "no reason given"
	}
	return line[:min(len(line), 200)]
}

// plain leaves out of an error of net/http what the caller says itself: method and URL.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return errors.New("does not answer in time")
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("nothing listens there: %w", u.Err)
		}
		return u.Err
	}
	return err
}

// limited fails when there is more to read than answerMost.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("answer is larger than %d MB", answerMost>>20)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
