package flowlog

import (
	"bytes"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
)

// Zeek's conn.log as tab-separated values. Every conn_state holds a port: an open without an answer (S0, SH) for as
// long as one may, a refused one (REJ) as one that was reset.

type zeek struct {
	at     [8]int
	fields [64][]byte
}

func isZeek(line []byte) bool { return bytes.HasPrefix(line, []byte("#separator")) }

// header takes a line of the head; it is one if it begins with #.
func (p *zeek) header(line []byte) {
	if !bytes.HasPrefix(line, []byte("#fields\t")) {
		return
	}
	n := fields(line[len("#fields\t"):], '\t', p.fields[:])
	for k, name := range [8]string{
		"ts", "duration", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p",
		"proto", "conn_state",
	} {
		p.at[k] = -1
		for i, f := range p.fields[:n] {
			if string(f) == name {
				p.at[k] = i
			}
		}
	}
}

func (p *zeek) parse(line []byte, r *Row) error {
	if line[0] == '#' {
		p.header(line)
		return skipEmpty
	}
	n := fields(line, '\t', p.fields[:])
	for _, i := range p.at {
		if i >= n || i < 0 {
			return errFields
		}
	}
	f := func(k int) []byte { return p.fields[p.at[k]] }
	var ok bool
	if r.Start, ok = decimal(f(0)); !ok {
		return fmt.Errorf("ts %.40q", f(0))
	}
	r.End = r.Start
	if d := f(1); len(d) > 0 && d[0] != '-' {
		life, ok := decimal(d)
		if !ok {
			return fmt.Errorf("duration %.40q", d)
		}
		r.End += life
	}
	var err error
	if r.Tuple.Protocol, err = protocol(f(6)); err != nil {
		return err
	}
	if err := r.Tuple.ends(f(2), f(4), f(3), f(5)); err != nil {
		return err
	}
	r.State, r.Reason = Ended, collector.ReasonUnknown
	switch string(f(7)) {
	case "SF", "S2", "S3", "SHR":
		r.Reason = collector.FIN
	case "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH":
		r.Reason = collector.RST
	case "S0", "SH":
		if r.Tuple.Protocol == collector.TCP {
			r.State, r.Reason = Unanswered, collector.Timeout
		}
	case "S1":
		r.Reason = collector.ReasonUnknown // open when the log was cut
	}
	return nil
}
