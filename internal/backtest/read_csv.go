package backtest

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"strings"
)

// readCSV reads comma-, semicolon- or tab-separated values under a header.
func readCSV(b *builder, in *bufio.Reader) {
	c := csv.NewReader(in)
	c.FieldsPerRecord = -1
	c.LazyQuotes = true
	c.ReuseRecord = true
	c.Comma = separator(in)
	header, err := c.Read()
	if err != nil {
		b.broken(1, err)
		return
	}
	l, missing := newLayout(header)
	if missing != "" {
		b.bad(0, missing, "is missing")
		return
	}
	for {
		fields, err := c.Read()
		line, _ := c.FieldPos(0)
		var parse *csv.ParseError
		switch {
		case err == io.EOF:
			return
		case errors.As(err, &parse):
			b.bad(parse.Line, "", parse.Err.Error())
			continue
		case err != nil:
			b.broken(line+1, err)
			return
		}
		if r, ok := b.pick(&l, line, fields); ok {
			b.add(line, &l, &r)
		}
	}
}

// separator is the one that the first line has most of.
func separator(in *bufio.Reader) rune {
	head, _ := in.Peek(4096)
	first, _, _ := strings.Cut(string(head), "\n")
	best, most := ',', strings.Count(first, ",")
	for _, c := range []rune{';', '\t'} {
		if n := strings.Count(first, string(c)); n > most {
			best, most = c, n
		}
	}
	return best
}
