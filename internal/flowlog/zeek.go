package flowlog

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/snatwatch/snatwatch/collector"
)

// Zeek's conn.log, as values separated by tabs or as an object a line. Every conn_state holds a port: an open
// without an answer (S0, SH) for as long as one may, a refused one (REJ) as one that was reset. Rows that come from
// outside (local_orig F) or stay inside (local_resp T) are left out; where Zeek does not say, private addresses do.

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
	// These two a log may lack.
	zeekLocalSource
	zeekLocalDestination
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
	case "local_orig":
		return zeekLocalSource
	case "local_resp":
		return zeekLocalDestination
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
	if err := f.outbound(&r.Tuple); err != nil {
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

// outbound refuses rows that are no flows out of this network. Who opened a flow Zeek knows; where it was not told
// which networks are local, both columns are unset.
func (f *zeekRow) outbound(t *Tuple) error {
	from, to := zeekBool(f[zeekLocalSource]), zeekBool(f[zeekLocalDestination])
	inside := to == yes || to == unset && t.Destination.private()
	switch {
	case from == no, from == unset && inside && !t.Source.private():
		return skipInbound
	case inside:
		return skipPrivate
	}
	return nil
}

// known is what a column says that may say nothing.
type known uint8

const (
	unset known = iota
	yes
	no
)

// zeekBool reads T and F of text, true and false of JSON.
func zeekBool(b []byte) known {
	switch string(b) {
	case "T", "true":
		return yes
	case "F", "false":
		return no
	}
	return unset
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
		switch {
		case i >= 0:
			p.row[k] = p.column(i)
		case k < int(zeekLocalSource):
			return errFields
		}
	}
	return p.row.read(r)
}

// milliseconds reads a time since 1970 in ms, as Zeek writes JSON if configured to.
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
