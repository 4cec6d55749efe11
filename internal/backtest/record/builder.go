package record

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/snatwatch/snatwatch/collector"
)

// unixFrom is the least start, in seconds, that is a Unix time: 1973. A record that starts
// later than three years after its own beginning is none.
const unixFrom = 1e8

// early is a row that was read before the clock of its file was decided.
type early struct {
	line   int
	layout layout
	row    row
}

// builder makes a record of rows of text.
type builder struct {
	rec          *Record
	now          collector.Time
	names        map[string]string
	destinations *interner
	sources      *interner
	vips         *interner
	clock        bool    // rec.Unix is decided
	early        []early // rows that wait for that
}

func newBuilder(name string, now collector.Time, names map[string]string) *builder {
	return &builder{
		rec: &Record{Name: name}, now: now, names: names, destinations: newInterner(), sources: newInterner(),
		vips: newInterner(),
	}
}

// bad counts a record that cannot be used.
func (b *builder) bad(line int, column, text string) {
	b.rec.Read++
	b.rec.Bad++
	if len(b.rec.Faults) < maxFaults {
		b.rec.Faults = append(b.rec.Faults, Fault{b.rec.Name, line, column, text})
	}
}

// broken notes that the file cannot be read any further.
func (b *builder) broken(line int, err error) {
	b.rec.Broken = true
	b.bad(line, "", fmt.Sprintf("the file is broken from here on: %v", err))
}

// lines yields lines without their end, numbered from 1, blank ones left out. A line over 1 MiB is cut. An error
// of the reader is passed on to b.
func lines(b *builder, in *bufio.Reader) func(yield func(int, []byte) bool) {
	const longest = 1 << 20
	return func(yield func(int, []byte) bool) {
		var line []byte
		for n := 1; ; n++ {
			line = line[:0]
			var err error
			for {
				var part []byte
				part, err = in.ReadSlice('\n')
				if len(line) < longest {
					line = append(line, part...)
				}
				if !errors.Is(err, bufio.ErrBufferFull) {
					break
				}
			}
			if err != nil && err != io.EOF {
				b.broken(n, err)
				return
			}
			if text := bytes.TrimRight(line, "\r\n"); len(bytes.TrimSpace(text)) > 0 && !yield(n, text) {
				return
			}
			if err == io.EOF {
				return
			}
		}
	}
}
