package flowlog

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Format is how a log is written.
type Format struct {
	Name string
	// Gap is how long after one row of a flow the next may come, in ns.
	Gap int64
	// Instants: the log tells when flows began and not when they ended.
	Instants bool
}

// parser reads one row. Its error is a skip for a row that holds no port; the row is then of no use.
type parser interface {
	parse(text []byte, r *Row) error
}

// Result is how the reading of one log went.
type Result struct {
	Format Format
	// Rows were read, Used are those that hold ports; Skipped counts the others by why, Bad those that could not be
	// read.
	Rows, Used, Bad int
	Skipped         map[string]int
	// Faults describe the first bad rows.
	Faults []string
}

// ErrFormat is in the error for a file that is no flow log that this package knows.
var ErrFormat = errors.New("no flow log of a known format")

const (
	headSize  = 64 << 10
	rowMost   = 1 << 20
	faultsMax = 5
)

// never is a gap without end: the log tells of every end.
const never = int64(1) << 62

// readFile reads a file, gzipped or not.
func readFile(path string, tell func(Format), take func(*Row)) (*Result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r, err := read(f, tell, take)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// read tells the format of a log, and then calls take with each row that holds a port. The row is valid until take
// returns.
func read(from io.Reader, tell func(Format), take func(*Row)) (*Result, error) {
	in := bufio.NewReaderSize(from, headSize)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, err
		}
		in = bufio.NewReaderSize(z, headSize)
	}
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(len(mark))
	}
	head, err := in.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		return nil, err
	}
	r := &run{in: in, tell: tell, take: take, out: &Result{Skipped: map[string]int{}}}
	return r.out, r.read(head)
}

// run is the reading of one log.
type run struct {
	in   *bufio.Reader
	tell func(Format)
	take func(*Row)
	out  *Result
	row  Row
	unit string // what a fault counts: lines, or flows of a JSON
	long []byte // a row that was longer than the buffer
}

func (r *run) read(head []byte) error {
	head = bytes.TrimLeft(head, " \r\n\t")
	first, _, _ := bytes.Cut(head, []byte("\n"))
	first = bytes.TrimRight(first, "\r")
	var p parser
	header := false
	switch {
	case len(first) == 0:
		return errors.New("the file is empty")
	case isZeek(first):
		r.out.Format, p = Format{Name: "Zeek conn.log"}, newZeek()
	case isZeekJSON(first):
		r.out.Format, p = Format{Name: "Zeek conn.log in JSON"}, newZeekJSON()
	case isNfdump(first):
		r.out.Format, p, header = Format{Name: "nfdump CSV", Gap: int64(2 * time.Minute)}, newNfdump(first), true
	case isConntrack(first):
		r.out.Format, p = Format{Name: "conntrack", Gap: never}, conntrack{}
	case isAWS(first):
		var err error
		r.out.Format = Format{Name: "AWS VPC flow log", Gap: int64(350 * time.Second)}
		if p, header, err = newAWS(first); err != nil {
			return err
		}
	case bytes.Contains(head, []byte(`"flowTuples"`)):
		r.out.Format = Format{Name: "Azure flow log", Gap: int64(10 * time.Minute)}
		return r.strings(&azure{})
	case first[0] == '{' && bytes.Contains(first, []byte(`"jsonPayload"`)):
		r.out.Format, p = Format{Name: "Google Cloud log", Gap: int64(350 * time.Second)}, newGoogle()
	case bytes.HasPrefix(first, []byte(ownRemark)) && newCSV(afterRemarks(head)) != nil:
		r.out.Format, p, header = Format{Name: "snatwatch record"}, newCSV(afterRemarks(head)), true
	case newCSV(first) != nil:
		r.out.Format, p, header = Format{Name: "CSV"}, newCSV(first), true
	case first[0] == '[' && bytes.Contains(head, []byte("{")):
		return fmt.Errorf("%w: a JSON array: write an object a line, as jq -c .[] does", ErrFormat)
	default:
		return fmt.Errorf("%w: it begins %.60q", ErrFormat, first)
	}
	return r.lines(p, header)
}

// lines parses line by line.
func (r *run) lines(p parser, header bool) error {
	r.unit = "line"
	r.tell(r.out.Format)
	for n := 1; ; n++ {
		line, err := r.line()
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", n, err)
		}
		for len(line) > 0 && line[len(line)-1] <= ' ' {
			line = line[:len(line)-1]
		}
		if len(line) > 0 && !header {
			r.one(p, line, n)
		} else if len(line) > 0 && line[0] != remark {
			header = false
		}
		if errors.Is(err, io.EOF) {
			return r.done()
		}
	}
}

// line returns the next line; what is over a megabyte of one is left out.
func (r *run) line() ([]byte, error) {
	line, err := r.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	r.long = append(r.long[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = r.in.ReadSlice('\n')
		if len(r.long) < rowMost {
			r.long = append(r.long, line...)
		}
	}
	return r.long, err
}

// strings parses the strings of a JSON that are flows, in whatever depth; the log may be one line of a gigabyte.
func (r *run) strings(p parser) error {
	r.unit = "flow"
	r.tell(r.out.Format)
	for n := 1; ; {
		text, err := r.in.ReadSlice('"')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // no flow is so long
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if text = bytes.TrimSuffix(text, []byte(`"`)); azureTuple(text) {
			r.one(p, text, n)
			n++
		}
		if errors.Is(err, io.EOF) {
			return r.done()
		}
	}
}

// one takes one row.
func (r *run) one(p parser, text []byte, n int) {
	err := p.parse(text, &r.row)
	if err == nil {
		r.out.Rows++
		r.out.Used++
		r.out.Format.Instants = r.out.Format.Instants || r.row.State == Instant
		r.take(&r.row)
		return
	}
	var why skip
	switch {
	case errors.As(err, &why):
		if text[0] != '#' {
			r.out.Rows++
			r.out.Skipped[string(why)]++
		}
	default:
		r.out.Rows++
		r.out.Bad++
		if len(r.out.Faults) < faultsMax {
			r.out.Faults = append(r.out.Faults, fmt.Sprintf("%s %d: %v", r.unit, n, err))
		}
	}
}

// done refuses a log of which nothing could be used.
func (r *run) done() error {
	switch {
	case r.out.Rows == 0:
		return errors.New("the log has no rows")
	case r.out.Used == 0 && r.out.Bad > 0:
		return fmt.Errorf("no row of %d can be used: %s", r.out.Rows, r.out.Faults[0])
	case r.out.Used == 0:
		return fmt.Errorf("no row of %d holds a port: %s", r.out.Rows, counts(r.out.Skipped))
	}
	return nil
}

// Left says how many rows were left out, by why.
func (r *Result) Left() string { return counts(r.Skipped) }

// Known reports whether the head of a file is of a log that this package reads, other than CSV of the backtest's
// columns.
func Known(head []byte) bool {
	head = bytes.TrimLeft(head, " \r\n\t")
	first, _, _ := bytes.Cut(head, []byte("\n"))
	return isZeek(first) || isNfdump(first) || isConntrack(first) || isAWS(first) ||
		bytes.Contains(head, []byte(`"flowTuples"`)) ||
		len(first) > 0 && first[0] == '{' && bytes.Contains(first, []byte(`"jsonPayload"`))
}
