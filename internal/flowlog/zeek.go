package flowlog

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/snatwatch/snatwatch/collector"
)

// Zeek's conn.log, as values separated by tabs or as an object a line. Every conn_state holds a port: an open
// without an answer (S0, SH) for as long as one may, a refused one (REJ) as one that was reset.

// zeekField is a field that is read.
type zeekField int

const (
	zeekTime zeekField = iota
	zeekDuration
	zeekSource
	zeekSourcePort
	zeekDestination
	zeekDestinationPort
	zeekProtocol
	zeekState
	numZeekFields
)

// zeekName returns the field of a name, numZeekFields for one that is not read.
func zeekName(name []byte) zeekField {
	switch string(name) {
	case "ts":
		return zeekTime
	case "duration":
		return zeekDuration
	case "id.orig_h":
		return zeekSource
	case "id.orig_p":
		return zeekSourcePort
	case "id.resp_h":
		return zeekDestination
	case "id.resp_p":
		return zeekDestinationPort
	case "proto":
		return zeekProtocol
	case "conn_state":
		return zeekState
	}
	return numZeekFields
}

// zeekRow is what the fields of a row say; nil for those that the row has not.
type zeekRow [numZeekFields][]byte

func (f *zeekRow) read(r *Row) (err error) {
	var ok bool
	if r.Start, ok = when(f[zeekTime]); !ok {
		if r.Start, ok = milliseconds(f[zeekTime]); !ok {
			return fmt.Errorf("ts %.40q", f[zeekTime])
		}
	}
	r.End = r.Start
	if d := f[zeekDuration]; len(d) > 0 && d[0] != '-' {
		life, ok := decimal(d)
		if !ok {
			return fmt.Errorf("duration %.40q", d)
		}
		r.End += life
	}
	if r.Tuple.Protocol, err = protocol(f[zeekProtocol]); err != nil {
		return err
	}
	if err := r.Tuple.ends(f[zeekSource], f[zeekDestination], f[zeekSourcePort], f[zeekDestinationPort]); err != nil {
		return err
	}
	r.State, r.Reason = Ended, collector.ReasonUnknown
	switch string(f[zeekState]) {
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

// zeek reads values separated by tabs.
type zeek struct {
	separator byte
	at        [numZeekFields]int // -1 where absent
	most      int                // columns that are of use
	row       zeekRow
	columns
}

func isZeek(line []byte) bool { return bytes.HasPrefix(line, []byte("#separator")) }

func newZeek() *zeek {
	p := &zeek{separator: '\t'}
	for k := range p.at {
		p.at[k] = -1
	}
	return p
}

// header takes a line of the head.
func (p *zeek) header(line []byte) {
	if of, ok := bytes.CutPrefix(line, []byte("#separator ")); ok {
		if s, err := strconv.Unquote(`"` + string(of) + `"`); err == nil && len(s) == 1 {
			p.separator = s[0]
		}
	}
	names, ok := bytes.CutPrefix(line, []byte("#fields"+string(p.separator)))
	if !ok {
		return
	}
	*p = zeek{separator: p.separator, at: newZeek().at}
	p.cut(names, p.separator, columnsMost)
	for i := range p.n {
		if k := zeekName(p.column(i)); k < numZeekFields {
			p.at[k], p.most = i, i+1
		}
	}
}

func (p *zeek) parse(line []byte, r *Row) error {
	if line[0] == '#' {
		p.header(line)
		return skipEmpty
	}
	if p.cut(line, p.separator, p.most); p.n < p.most {
		return errFields
	}
	for k, i := range p.at {
		if i < 0 {
			return errFields
		}
		p.row[k] = p.column(i)
	}
	return p.row.read(r)
}

// milliseconds reads a time since 1970 in ms, as Zeek writes JSON if told to.
func milliseconds(b []byte) (ns int64, ok bool) {
	whole, _, _ := bytes.Cut(b, []byte("."))
	ms, ok := integer(whole)
	return ms * 1e6, ok && ms > 1e11 && ms < 9e12
}

// zeekJSON reads an object a line; times are seconds or milliseconds, or text as of RFC 3339.
type zeekJSON struct {
	row zeekRow
	object
}

func isZeekJSON(line []byte) bool {
	return len(line) > 0 && line[0] == '{' && bytes.Contains(line, []byte(`"id.orig_h"`)) &&
		bytes.Contains(line, []byte(`"id.resp_h"`))
}

func newZeekJSON() *zeekJSON {
	p := &zeekJSON{}
	p.take = func(parent, name, value []byte) {
		if k := zeekName(name); len(parent) == 0 && k < numZeekFields {
			p.row[k] = value
		}
	}
	return p
}

func (p *zeekJSON) parse(line []byte, r *Row) error {
	p.row = zeekRow{}
	if err := p.walk(line); err != nil {
		return err
	}
	return p.row.read(r)
}
