package flowlog

import (
	"bytes"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
)

// The text of conntrack-tools: events ("conntrack -E -o timestamp") with the time at which the tool read them in
// brackets, or a list ("conntrack -L") of one moment. Only the first direction of an entry is read: what the node
// asked for.

type conntrack struct{}

func isConntrack(line []byte) bool {
	return bytes.Contains(line, []byte(" src=")) && bytes.Contains(line, []byte(" dst=")) &&
		bytes.Contains(line, []byte(" sport="))
}

func (conntrack) parse(line []byte, r *Row) error {
	r.Start, r.End, r.State, r.Reason = 0, 0, Listed, 0
	rest := bytes.TrimSpace(line)
	event := ""
	for len(rest) > 0 && rest[0] == '[' {
		i := bytes.IndexByte(rest, ']')
		if i < 0 {
			return fmt.Errorf("no end of %.20q", rest)
		}
		word := bytes.TrimSpace(rest[1:i])
		if at, ok := decimal(word); ok {
			r.Start, r.End = at, at
		} else {
			event = string(word)
		}
		rest = bytes.TrimSpace(rest[i+1:])
	}
	if bytes.HasPrefix(rest, []byte("ipv")) { // -o extended
		rest = rest[bytes.IndexByte(rest, ' ')+1:]
		rest = bytes.TrimLeft(rest, " 0123456789")
	}
	var f [24][]byte
	n := words(rest, f[:])
	if n < 6 {
		return errFields
	}
	var err error
	if r.Tuple.Protocol, err = protocol(f[0]); err != nil {
		return err
	}
	var parts [4][]byte // the first of each: the second are the answer's
	state := ""
	unreplied := false
	for _, x := range f[1:n] {
		name, value, ok := bytes.Cut(x, []byte("="))
		if !ok {
			if state == "" && x[0] >= 'A' && x[0] <= 'Z' {
				state = string(x)
			}
			unreplied = unreplied || string(x) == "[UNREPLIED]"
			continue
		}
		for i, k := range [4]string{"src", "dst", "sport", "dport"} {
			if string(name) == k && parts[i] == nil {
				parts[i] = value
			}
		}
	}
	if err := r.Tuple.ends(parts[0], parts[1], parts[2], parts[3]); err != nil {
		return err
	}
	if r.Tuple.Destination.private() {
		return skipPrivate
	}
	return r.event(event, state, unreplied)
}

// event sets what an event's name and the state of TCP say.
func (r *Row) event(event, state string, unreplied bool) error {
	if r.Start == 0 {
		if event != "" {
			return fmt.Errorf("event %s without a time: conntrack -E needs -o timestamp", event)
		}
		switch state {
		case "TIME_WAIT":
			r.Reason = collector.FIN
		case "CLOSE":
			r.Reason = collector.RST
		}
		return nil
	}
	switch {
	case event == "DESTROY" && unreplied && r.Tuple.Protocol == collector.TCP:
		r.State, r.Reason = Closed, collector.Timeout
	case event == "DESTROY":
		r.State, r.Reason = Closed, collector.ReasonUnknown
	case state == "TIME_WAIT", state == "LAST_ACK":
		r.State, r.Reason = Closed, collector.FIN
	case state == "CLOSE":
		r.State, r.Reason = Closed, collector.RST
	default:
		r.State = Seen
	}
	return nil
}
