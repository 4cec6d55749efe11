package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Prometheus is a server that speaks the HTTP API of Prometheus.
type Prometheus struct {
	at   string
	base string
}

// NewPrometheus takes a URL, or a host and port.
func NewPrometheus(at string) (*Prometheus, error) {
	u, err := base(at)
	if err != nil {
		return nil, err
	}
	return &Prometheus{at, u.String()}, nil
}

// Sample is one series of an answer at one moment.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression at a time and returns its series, none where there are none.
func (p *Prometheus) Query(ctx context.Context, expr string, at time.Time) ([]Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	form := url.Values{"query": {expr}, "time": {strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64)}}
	body, err := do(ctx, http.MethodPost, p.base+"/api/v1/query", form)
	if err != nil {
		var no *failure
		if errors.As(err, &no) && no.status == http.StatusNotFound {
			return nil, fmt.Errorf("%s is no Prometheus: it has no /api/v1/query", p.at)
		}
		return nil, fmt.Errorf("Prometheus at %s: %w", p.at, err)
	}
	defer func() { _ = body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct {
			ResultType string
			Result     []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(&limited{body, answerMost}).Decode(&answer); err != nil {
		return nil, fmt.Errorf("Prometheus at %s: read answer: %v", p.at, err)
	}
	switch {
	case answer.Status != "success":
		return nil, fmt.Errorf("Prometheus at %s: %s", p.at, answer.Error)
	case answer.Data.ResultType != "vector":
		return nil, fmt.Errorf("Prometheus at %s: answers a %s, not a vector", p.at, answer.Data.ResultType)
	}
	out := make([]Sample, 0, len(answer.Data.Result))
	for _, r := range answer.Data.Result {
		text, _ := r.Value[1].(string)
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("Prometheus at %s: value %q is no number", p.at, text)
		}
		out = append(out, Sample{r.Metric, v})
	}
	return out, nil
}
