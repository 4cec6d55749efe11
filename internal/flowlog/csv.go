package flowlog

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// CSV under a header, a whole flow a line, with the names of columns that the backtest takes. Destinations are
// addresses here. Times are seconds since 1970 or since the record began, or RFC 3339. What snatwatch record writes is
// such a file with remarks.

// ownRemark begins a file of snatwatch record; a line that begins with remark is no row.
const (
	ownRemark = "# snatwatch record "
	remark    = '#'
)

// afterRemarks is the first line that is no remark.
func afterRemarks(head []byte) []byte {
	for line := range bytes.Lines(head) {
		if line[0] != remark {
			return bytes.TrimRight(line, "\r\n")
		}
	}
	return nil
}

type csvField int

const (
	csvStart csvField = iota
	csvDuration
	csvEnd
	csvDestination
	csvPort
	csvSource
	csvProtocol
	csvReason
	numCSVFields
)

func csvNames() [numCSVFields]string {
	return [numCSVFields]string{
		csvStart:       " start start_s start_time ts timestamp time opened first_seen ",
		csvDuration:    " duration duration_s dur lifetime lifetime_s elapsed ",
		csvEnd:         " end end_s end_time closed last_seen ",
		csvDestination: " destination dst dest dst_ip dest_ip destination_ip dstaddr daddr remote remote_address ",
		csvPort:        " port dst_port dest_port destination_port dstport dport remote_port ",
		csvSource:      " source src src_ip source_ip srcaddr saddr local local_address ",
		csvProtocol:    " protocol proto ",
		csvReason:      " reason close_reason closereason ",
	}
}

// relative is put before times since the beginning of a record: a midnight.
const relative = 19675 * 86400 * int64(1e9)

// unixFrom is the least time, in ns, that is one since 1970.
const unixFrom = int64(1e8) * 1e9

type csvLog struct {
	sep  byte
	at   [numCSVFields]int
	most int // columns that are of use
	columns
}

// newCSV is nil where a line is no header of such a log.
func newCSV(header []byte) *csvLog {
	for _, sep := range []byte{',', ';', '\t'} {
		p := &csvLog{sep: sep}
		for i := range p.at {
			p.at[i] = -1
		}
		p.cut(header, sep, columnsMost)
		for i := range p.n {
			name := " " + strings.ToLower(string(bytes.TrimSpace(p.column(i)))) + " "
			for k, names := range csvNames() {
				if strings.Contains(names, name) && p.at[k] < 0 {
					p.at[k], p.most = i, i+1
				}
			}
		}
		if p.at[csvStart] >= 0 && p.at[csvDestination] >= 0 && (p.at[csvDuration] >= 0 || p.at[csvEnd] >= 0) {
			return p
		}
	}
	return nil
}

// get is a column of the row without blanks and quotes around it, nil where the log has it not.
func (p *csvLog) get(k csvField) []byte {
	if p.at[k] < 0 {
		return nil
	}
	b := p.column(p.at[k])
	for len(b) > 0 && (b[0] == ' ' || b[0] == '"') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '"') {
		b = b[:len(b)-1]
	}
	return b
}

func (p *csvLog) parse(line []byte, r *Row) (err error) {
	if line[0] == remark {
		return skipEmpty
	}
	if p.cut(line, p.sep, p.most); p.n < p.most {
		return errFields
	}
	var ok bool
	if r.Start, ok = when(p.get(csvStart)); !ok {
		return fmt.Errorf("start %.40q", p.get(csvStart))
	}
	r.End = r.Start
	if d := p.get(csvDuration); len(d) > 0 {
		life, ok := decimal(d)
		if !ok {
			return fmt.Errorf("duration %.40q", d)
		}
		r.End += life
	} else if e := p.get(csvEnd); len(e) > 0 {
		if r.End, ok = when(e); !ok || r.End < r.Start {
			return fmt.Errorf("end %.40q", e)
		}
	}
	r.Tuple.Protocol = collector.TCP
	if name := p.get(csvProtocol); len(name) > 0 {
		if r.Tuple.Protocol, err = protocol(name); err != nil {
			return err
		}
	}
	r.State, r.Reason = Ended, collector.ReasonUnknown
	if name := p.get(csvReason); len(name) > 0 {
		for reason := range collector.NumReasons {
			if string(name) == reason.String() {
				r.Reason = reason
			}
		}
	}
	return p.ends(r)
}

// ends reads the addresses: the port may stand in the destination.
func (p *csvLog) ends(r *Row) error {
	destination, number := p.get(csvDestination), p.get(csvPort)
	if i := bytes.LastIndexByte(destination, ':'); i >= 0 && (bytes.IndexByte(destination, ':') == i ||
		destination[0] == '[') {
		destination, number = bytes.Trim(destination[:i], "[]"), destination[i+1:]
	}
	t := &r.Tuple
	t.SourcePort, t.DestinationPort = 0, 0
	var ok bool
	if t.Source, ok = address(p.get(csvSource)); !ok {
		t.Source = Addr(netip.IPv4Unspecified().As16()) // one node whose address does not matter
	}
	if t.Destination, ok = address(destination); !ok {
		return fmt.Errorf("destination address %.40q", destination)
	}
	if len(number) > 0 {
		if t.DestinationPort, ok = port(number); !ok {
			return fmt.Errorf("destination port %.40q", number)
		}
	}
	return nil
}

// when reads a time.
func when(b []byte) (ns int64, ok bool) {
	if ns, ok = decimal(b); ok {
		if ns < unixFrom {
			ns += relative
		}
		return ns, true
	}
	t, err := time.Parse(time.RFC3339Nano, string(b))
	return t.UnixNano(), err == nil && t.Year() > 1972 && t.Year() < 2200
}
