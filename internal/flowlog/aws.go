package flowlog

import (
	"bytes"
	"fmt"

	"github.com/snatwatch/snatwatch/collector"
)

// AWS VPC flow logs, versions 2 to 5: fields separated by spaces, "-" where one is not there. The first line of a
// file in S3 names them in the order that the user chose; CloudWatch sends the default format without names.

// awsField is a field that is read.
type awsField int

const (
	awsSource awsField = iota
	awsDestination
	awsPacketSource
	awsPacketDestination
	awsSourcePort
	awsDestinationPort
	awsProtocol
	awsStart
	awsEnd
	awsAction
	awsStatus
	awsFlags
	awsDirection
	numAWSFields
)

var awsNames = [numAWSFields]string{
	"srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "srcport", "dstport", "protocol", "start", "end", "action",
	"log-status",
	"tcp-flags", "flow-direction",
}

// awsDefault is the format of version 2.
const awsDefault = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes " +
	"start end action log-status"

// TCP flags of a row: the bits of all its packets.
const (
	flagFIN    = 1
	flagSYN    = 2
	flagRST    = 4
	flagACK    = 16
	flagSYNACK = flagSYN | flagACK
)

type aws struct {
	at   [numAWSFields]int // -1 where absent
	most int               // columns that are of use
	columns
}

// isAWS recognises a line of names or of the default format.
func isAWS(line []byte) bool {
	if bytes.Contains(line, []byte("srcaddr")) && bytes.Contains(line, []byte("dstaddr")) &&
		!bytes.ContainsAny(line, ",;\t{") {
		return true
	}
	var f [15][]byte
	n := words(line, f[:])
	return n == 14 && string(f[0]) == "2" && (string(f[13]) == "OK" || string(f[13]) == "NODATA" ||
		string(f[13]) == "SKIPDATA")
}

func newAWS(first []byte) (*aws, bool, error) {
	names, header := first, bytes.Contains(first, []byte("srcaddr"))
	if !header {
		names = []byte(awsDefault)
	}
	p := &aws{}
	for i := range p.at {
		p.at[i] = -1
	}
	var of [columnsMost][]byte
	for i, f := range of[:words(names, of[:])] {
		for k, name := range awsNames {
			if string(f) == name {
				p.at[k], p.most = i, i+1
			}
		}
	}
	for _, k := range []awsField{
		awsSource, awsDestination, awsSourcePort, awsDestinationPort, awsProtocol,
		awsStart, awsEnd,
	} {
		if p.at[k] < 0 {
			return nil, header, fmt.Errorf("the flow log has no field %s", awsNames[k])
		}
	}
	return p, header, nil
}

// get is a field of the row, nil where the log has it not.
func (p *aws) get(k awsField) []byte {
	if p.at[k] < 0 {
		return nil
	}
	return p.column(p.at[k])
}

func (p *aws) parse(line []byte, r *Row) error {
	if p.cut(line, ' ', p.most); p.n < p.most {
		return errFields
	}
	if s := p.get(awsStatus); s != nil && string(s) != "OK" {
		return skipEmpty
	}
	if string(p.get(awsAction)) == "REJECT" {
		return skipDenied
	}
	if string(p.get(awsDirection)) == "ingress" {
		return skipInbound
	}
	var err error
	if r.Tuple.Protocol, err = protocol(p.get(awsProtocol)); err != nil {
		return err
	}
	// pkt-srcaddr and pkt-dstaddr are the packet's own; without pkt- they are the interface's, such as a NAT gateway's.
	source, destination := p.get(awsSource), p.get(awsDestination)
	if s := p.get(awsPacketSource); s != nil && string(s) != "-" {
		source = s
	}
	if d := p.get(awsPacketDestination); d != nil && string(d) != "-" {
		destination = d
	}
	if err := r.Tuple.ends(source, destination, p.get(awsSourcePort), p.get(awsDestinationPort)); err != nil {
		return err
	}
	if err := r.Tuple.outbound(); err != nil {
		return err
	}
	start, ok := integer(p.get(awsStart))
	end, ok2 := integer(p.get(awsEnd))
	if !ok || !ok2 || start > 9e9 || end < start || end > 9e9 {
		return fmt.Errorf("start %.20q and end %.20q", p.get(awsStart), p.get(awsEnd))
	}
	r.Start, r.End = start*1e9, end*1e9
	flags, _ := integer(p.get(awsFlags))
	return r.flags(flags)
}

// flags sets what the TCP flags of a row's packets, all from the source, say.
func (r *Row) flags(f int64) error {
	r.State, r.Reason = Seen, 0
	switch {
	case f&flagSYNACK == flagSYNACK:
		return skipInbound // the source answered an open
	case f&flagRST != 0:
		r.State, r.Reason = Ended, collector.RST
	case f&flagFIN != 0:
		r.State, r.Reason = Ended, collector.FIN
	}
	return nil
}
