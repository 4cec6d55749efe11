package flowlog

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Google's logs are an object a line. Those of Cloud NAT tell when a connection was translated, or dropped for
// want of a port, and never when it ended. Those of the VPC have a start and an end.

type google struct{ entry googleEntry }

type googleEntry struct {
	Timestamp   string `json:"timestamp"`
	JSONPayload struct {
		AllocationStatus string `json:"allocation_status"`
		Connection       struct {
			Source          string          `json:"src_ip"`
			SourcePort      json.RawMessage `json:"src_port"`
			Destination     string          `json:"dest_ip"`
			DestinationPort json.RawMessage `json:"dest_port"`
			Protocol        json.RawMessage `json:"protocol"`
		} `json:"connection"`
		Start    string `json:"start_time"`
		End      string `json:"end_time"`
		Reporter string `json:"reporter"`
	} `json:"jsonPayload"`
}

func (p *google) parse(line []byte, r *Row) error {
	p.entry = googleEntry{}
	if err := json.Unmarshal(line, &p.entry); err != nil {
		return err
	}
	e := &p.entry.JSONPayload
	c := &e.Connection
	if c.Source == "" {
		return fmt.Errorf("no jsonPayload.connection.src_ip")
	}
	if e.AllocationStatus == "DROPPED" {
		return skipDropped
	}
	if e.Reporter == "DEST" {
		return skipInbound
	}
	var err error
	if r.Tuple.Protocol, err = protocol(bare(c.Protocol)); err != nil {
		return err
	}
	if err := r.Tuple.ends([]byte(c.Source), []byte(c.Destination), bare(c.SourcePort),
		bare(c.DestinationPort)); err != nil {
		return err
	}
	if err := r.Tuple.outbound(); err != nil {
		return err
	}
	r.State, r.Reason = Instant, collector.ReasonUnknown
	from := p.entry.Timestamp
	if e.Start != "" && e.End != "" {
		from, r.State = e.Start, Seen
	}
	start, err := time.Parse(time.RFC3339Nano, from)
	if err != nil {
		return fmt.Errorf("timestamp %.40q", from)
	}
	r.Start, r.End = start.UnixNano(), start.UnixNano()
	if r.State == Seen {
		end, err := time.Parse(time.RFC3339Nano, e.End)
		if err != nil || end.Before(start) {
			return fmt.Errorf("end_time %.40q", e.End)
		}
		r.End = end.UnixNano()
	}
	return nil
}

// bare is a JSON number, or a string without its quotes.
func bare(b json.RawMessage) []byte {
	if len(b) >= 2 && b[0] == '"' {
		return b[1 : len(b)-1]
	}
	return b
}
