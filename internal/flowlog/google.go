package flowlog

import (
	"fmt"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Google's logs are an object a line. The logs of Cloud NAT tell when a connection was translated, or dropped for
// want of a port, and never when it ended. The VPC's logs have a start and an end.

// googleField is a field that is read.
type googleField int

const (
	googleTime googleField = iota
	googleStatus
	googleSource
	googleSourcePort
	googleDestination
	googleDestinationPort
	googleProtocol
	googleStart
	googleEnd
	googleReporter
	numGoogleFields
)

// googleName returns the field that an object has under a name, numGoogleFields for one that is not read.
func googleName(parent, name []byte) googleField {
	switch string(parent) {
	case "":
		if string(name) == "timestamp" {
			return googleTime
		}
	case "connection":
		switch string(name) {
		case "src_ip":
			return googleSource
		case "src_port":
			return googleSourcePort
		case "dest_ip":
			return googleDestination
		case "dest_port":
			return googleDestinationPort
		case "protocol":
			return googleProtocol
		}
	case "jsonPayload":
		switch string(name) {
		case "allocation_status":
			return googleStatus
		case "start_time":
			return googleStart
		case "end_time":
			return googleEnd
		case "reporter":
			return googleReporter
		}
	}
	return numGoogleFields
}

type google struct {
	row [numGoogleFields][]byte
	object
}

func newGoogle() *google {
	p := &google{}
	p.take = func(parent, name, value []byte) {
		if k := googleName(parent, name); k < numGoogleFields {
			p.row[k] = value
		}
	}
	return p
}

func (p *google) parse(line []byte, r *Row) (err error) {
	p.row = [numGoogleFields][]byte{}
	if err := p.walk(line); err != nil {
		return err
	}
	f := &p.row
	if len(f[googleSource]) == 0 {
		return fmt.Errorf("no jsonPayload.connection.src_ip")
	}
	if string(f[googleStatus]) == "DROPPED" {
		return skipDropped
	}
	if string(f[googleReporter]) == "DEST" {
		return skipInbound
	}
	if r.Tuple.Protocol, err = protocol(f[googleProtocol]); err != nil {
		return err
	}
	if err := r.Tuple.ends(f[googleSource], f[googleDestination], f[googleSourcePort],
		f[googleDestinationPort]); err != nil {
		return err
	}
	if err := r.Tuple.outbound(); err != nil {
		return err
	}
	r.State, r.Reason = Instant, collector.ReasonUnknown
	from := f[googleTime]
	if len(f[googleStart]) > 0 && len(f[googleEnd]) > 0 {
		from, r.State = f[googleStart], Seen
	}
	start, err := time.Parse(time.RFC3339Nano, string(from))
	if err != nil {
		return fmt.Errorf("timestamp %.40q", from)
	}
	r.Start, r.End = start.UnixNano(), start.UnixNano()
	if r.State == Seen {
		end, err := time.Parse(time.RFC3339Nano, string(f[googleEnd]))
		if err != nil || end.Before(start) {
			return fmt.Errorf("end_time %.40q", f[googleEnd])
		}
		r.End = end.UnixNano()
	}
	return nil
}
