package record

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"slices"
	"strings"
)

// ownRemark begins the first line of what snatwatch record writes. Lines that begin with remark are none of the table
// there.
const (
	ownRemark = "# snatwatch record "
	remark    = '#'
)

// readCSV reads comma-, semicolon- or tab-separated values under a header. A record is a line: a quote
// that is never closed spoils its own line and no other.
func readCSV(b *builder, in *bufio.Reader) {
	head, _ := in.Peek(len(ownRemark))
	own := string(head) == ownRemark
	comma := ','
	if !own {
		comma = separator(in)
	}
	s := newSplitter(comma)
	var l layout
	ready := false
	for n, text := range lines(b, in) {
		if own && text[0] == remark {
			continue
		}
		fields, err := s.split(text)
		switch {
		case err != nil:
			b.bad(n, "", err.Error())
		case !ready:
			var missing string
			if l, missing = newLayout(fields); missing != "" {
				b.bad(0, missing, "is missing")
				return
			}
			ready = true
		default:
			if r, ok := b.pick(&l, n, fields); ok {
				b.add(n, &l, &r)
			}
		}
	}
}

// splitter splits lines into fields.
type splitter struct {
	comma  string
	line   bytes.Reader
	quoted *csv.Reader // of line
	fields []string
}

func newSplitter(comma rune) *splitter {
	s := &splitter{comma: string(comma)}
	s.quoted = csv.NewReader(&s.line)
	s.quoted.Comma = comma
	s.quoted.FieldsPerRecord = -1
	s.quoted.LazyQuotes = true
	s.quoted.ReuseRecord = true
	return s
}

// split returns the fields of a line; they are valid until the next.
func (s *splitter) split(line []byte) ([]string, error) {
	if bytes.IndexByte(line, '"') >= 0 {
		s.line.Reset(line)
		return s.quoted.Read()
	}
	s.fields = slices.AppendSeq(s.fields[:0], strings.SplitSeq(string(line), s.comma))
	return s.fields, nil
}

// separator is the one that the first line that is not blank has most of.
func separator(in *bufio.Reader) rune {
	head, _ := in.Peek(headSize)
	first, _, _ := strings.Cut(strings.TrimLeft(string(head), " \r\n"), "\n")
	best, most := ',', strings.Count(first, ",")
	for _, c := range []rune{';', '\t'} {
		if n := strings.Count(first, string(c)); n > most {
			best, most = c, n
		}
	}
	return best
}
