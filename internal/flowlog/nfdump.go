package flowlog

import (
	"bytes"
	"fmt"
	"time"
)

// nfdump's CSV: versions up to 1.7.1 at least name columns ts, te, td, sa, da, sp, dp, pr, flg; newer ones
// firstSeen, duration, proto, srcAddr, srcPort, dstAddr, dstPort. Times are of the machine's zone without saying
// which: UTC is taken. ts and te are cut to whole seconds where td, the duration, is not. Were all flows taken to begin
// with their second, those of a whole second more would seem open at a time; so each begins within the time that
// ts, te and td leave, and flows are spread over it by a hash of the tuple.

type nfField int

const (
	nfStart nfField = iota
	nfEnd
	nfDuration
	nfProtocol
	nfSource
	nfDestination
	nfSourcePort
	nfDestinationPort
	nfFlags
	numNFFields
)

type nfdump struct {
	at    [numNFFields]int
	most  int // columns that are of use
	times timeCache
	columns
}

func isNfdump(line []byte) bool {
	return bytes.HasPrefix(line, []byte("ts,te,td,")) || bytes.HasPrefix(line, []byte("firstSeen,"))
}

func newNfdump(header []byte) *nfdump {
	p := &nfdump{}
	for i := range p.at {
		p.at[i] = -1
	}
	p.cut(header, ',', columnsMost)
	for i := range p.n {
		for k, names := range [numNFFields][2]string{
			{"ts", "firstSeen"},
			{"te", "lastSeen"},
			{"td", "duration"},
			{"pr", "proto"},
			{"sa", "srcAddr"},
			{"da", "dstAddr"},
			{"sp", "srcPort"},
			{"dp", "dstPort"},
			{"flg", "flags"},
		} {
			if f := string(p.column(i)); f == names[0] || f == names[1] {
				p.at[k], p.most = i, i+1
			}
		}
	}
	return p
}

func (p *nfdump) get(k nfField) []byte {
	if p.at[k] < 0 {
		return nil
	}
	return bytes.TrimSpace(p.column(p.at[k]))
}

func (p *nfdump) parse(line []byte, r *Row) error {
	if bytes.HasPrefix(line, []byte("Summary")) || bytes.HasPrefix(line, []byte("flows,")) {
		return skipEmpty
	}
	if p.cut(line, ',', p.most); p.n < p.most {
		if p.n <= 6 {
			return skipEmpty // the numbers under Summary
		}
		return errFields
	}
	var ok bool
	if r.Start, ok = p.times.parse(p.get(nfStart)); !ok {
		return fmt.Errorf("time %.40q", p.get(nfStart))
	}
	d, ok := decimal(p.get(nfDuration))
	if !ok {
		return fmt.Errorf("duration %.40q", p.get(nfDuration))
	}
	var err error
	if r.Tuple.Protocol, err = protocol(p.get(nfProtocol)); err != nil {
		return err
	}
	if err := r.Tuple.ends(p.get(nfSource), p.get(nfDestination), p.get(nfSourcePort),
		p.get(nfDestinationPort)); err != nil {
		return err
	}
	if err := r.Tuple.outbound(); err != nil {
		return err
	}
	if bytes.IndexByte(p.get(nfStart), '.') < 0 {
		end, ok := p.times.parse(p.get(nfEnd))
		if !ok {
			end = r.Start + d
		}
		r.Start = within(r.Start, end-d, uint32(r.Tuple.hash()>>32))
	}
	r.End = r.Start + d
	return r.flags(letters(p.get(nfFlags)))
}

// within is a time within the seconds that begin at both times, at a share of 2^32 of what they have in common; within
// the first where they have nothing in common.
func within(start, other int64, share uint32) int64 {
	from, to := max(start, other), min(start, other)+second
	if from >= to {
		from, to = start, start+second
	}
	return from + (to-from)>>16*int64(share>>16)
}

// letters are TCP flags as nfdump prints them: UAPRSF, a dot where one is not set.
func letters(b []byte) (f int64) {
	for _, c := range b {
		switch c {
		case 'F':
			f |= flagFIN
		case 'S':
			f |= flagSYN
		case 'R':
			f |= flagRST
		}
	}
	return f // no ACK: the bits of a whole flow have SYN and ACK from either side
}

// timeCache reads "2006-01-02 15:04:05.999", and remembers the last minute, which most rows share.
type timeCache struct {
	minute [16]byte
	at     int64
}

func (c *timeCache) parse(b []byte) (int64, bool) {
	if len(b) < 19 || b[10] != ' ' && b[10] != 'T' {
		return 0, false
	}
	if !bytes.Equal(c.minute[:], b[:16]) {
		text := string(b[:10]) + " " + string(b[11:16])
		t, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			return 0, false
		}
		copy(c.minute[:], b)
		c.at = t.UnixNano()
	}
	s, ok := decimal(b[17:])
	return c.at + s, ok && b[16] == ':'
}
