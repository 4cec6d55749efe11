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

// URL is where it is asked.
func (p *Prometheus) URL() string { return p.base }

// Sample is one series of an answer at one moment: a number, or what a native histogram counted.
type Sample struct {
	Labels  map[string]string
	Value   float64
	Buckets *Buckets // nil of a number
}

// Query evaluates an expression at a time and returns its series, none where there are none.
func (p *Prometheus) Query(ctx context.Context, expr string, at time.Time) ([]Sample, error) {
	var data struct {
		ResultType string
		Result     []struct {
			Metric    map[string]string
			Value     [2]any
			Histogram *nativeHistogram
		}
	}
	if err := p.ask(ctx, "/api/v1/query", url.Values{"query": {expr}, "time": {seconds(at)}}, &data); err != nil {
		return nil, err
	}
	if data.ResultType != "vector" {
		return nil, fmt.Errorf("Prometheus at %s: answers a %s, not a vector", p.at, data.ResultType)
	}
	out := make([]Sample, 0, len(data.Result))
	for _, r := range data.Result {
		if r.Histogram != nil {
			out = append(out, Sample{Labels: r.Metric, Buckets: &r.Histogram.Buckets})
			continue
		}
		v, err := number(r.Value[1])
		if err != nil {
			return nil, fmt.Errorf("Prometheus at %s: %w", p.at, err)
		}
		out = append(out, Sample{Labels: r.Metric, Value: v})
	}
	return out, nil
}

// Having sorts metrics into those of which there was a series within over before at, and those of which there was none.
func (p *Prometheus) Having(ctx context.Context, at time.Time, over time.Duration, metrics ...string) (has,
	lacks []string, err error,
) {
	for _, m := range metrics {
		s, err := p.Query(ctx, fmt.Sprintf("count(last_over_time(%s[%ds]))", m, int(over.Seconds())), at)
		switch {
		case err != nil:
			return nil, nil, err
		case len(s) > 0:
			has = append(has, m)
		default:
			lacks = append(lacks, m)
		}
	}
	return has, lacks, nil
}

// Point is one value of a series.
type Point struct {
	At    time.Time
	Value float64
}

// Range evaluates an expression that gives one series, from one time to another; none where there is none.
func (p *Prometheus) Range(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]Point, error) {
	var data struct {
		ResultType string
		Result     []struct {
			Values [][2]any
		}
	}
	form := url.Values{"query": {expr}, "start": {seconds(from)}, "end": {seconds(to)}, "step": {step.String()}}
	if err := p.ask(ctx, "/api/v1/query_range", form, &data); err != nil {
		return nil, err
	}
	if len(data.Result) > 1 {
		return nil, fmt.Errorf("Prometheus at %s: %d series where one was asked for", p.at, len(data.Result))
	}
	var out []Point
	for _, r := range data.Result {
		for _, v := range r.Values {
			at, _ := v[0].(float64)
			value, err := number(v[1])
			if err != nil {
				return nil, fmt.Errorf("Prometheus at %s: %w", p.at, err)
			}
			out = append(out, Point{time.UnixMilli(int64(at * 1000)), value})
		}
	}
	return out, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func number(v any) (float64, error) {
	text, _ := v.(string)
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("value %q is no number", text)
	}
	return f, nil
}

// ask posts a form and decodes the field data of the answer.
func (p *Prometheus) ask(ctx context.Context, path string, form url.Values, data any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := do(ctx, http.MethodPost, p.base+path, form)
	if err != nil {
		var no *failure
		if errors.As(err, &no) && no.status == http.StatusNotFound {
			return fmt.Errorf("%s is no Prometheus: it has no %s", p.at, path)
		}
		return fmt.Errorf("Prometheus at %s: %w", p.at, err)
	}
	defer func() { _ = body.Close() }()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(&limited{body, answerMost}).Decode(&answer); err != nil {
		return fmt.Errorf("Prometheus at %s: read answer: %w", p.at, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("Prometheus at %s: %s", p.at, answer.Error)
	}
	return nil
}
