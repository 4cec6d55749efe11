package record

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/internal/flowlog"
)

// ErrEmpty is in the error for a file without a single usable flow.
var ErrEmpty = errors.New("no usable flow")

// Reader reads records.
type Reader struct {
	// Now is the moment that no flow can have started after; 0 lets every start pass.
	Now collector.Time
	// Progress, when set, is called with how many bytes of the files were read.
	Progress func(bytes int)
}

// ReadFiles reads files, gzipped or not, and those of a directory that are named *.csv.gz: CSV with a header, Zeek's
// conn.log as TSV or JSON, flow logs that package flowlog knows. Files with Unix times are one record together; one
// with relative times is a record of its own. The error joins the errors of the files that could not be used.
func (r *Reader) ReadFiles(paths []string) ([]*Record, error) {
	var records, unix []*Record
	var failed []error
	files, err := flowlog.Files(paths)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEmpty, err)
	}
	for _, p := range files {
		rec, err := r.readFile(p)
		switch {
		case err != nil:
			failed = append(failed, err)
		case rec.Unix:
			unix = append(unix, rec)
		default:
			records = append(records, rec)
		}
	}
	if len(unix) > 0 {
		records = append(records, join(unix))
	}
	return records, errors.Join(failed...)
}

func (r *Reader) readFile(path string) (*Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	names, err := readNames(path)
	if err != nil {
		return nil, err
	}
	rec := r.read(filepath.Base(path), f, names)
	if len(rec.Flows) == 0 {
		if len(rec.Faults) > 0 {
			return nil, fmt.Errorf("%w: %v", ErrEmpty, rec.Faults[0])
		}
		return nil, fmt.Errorf("%w: %s", ErrEmpty, path)
	}
	return rec, nil
}

// headSize is how much of a file tells its format.
const headSize = 4096

// read parses one file. The record says what is wrong with it.
func (r *Reader) read(name string, from io.Reader, names map[string]string) *Record {
	b := newBuilder(name, r.Now, names)
	in := bufio.NewReaderSize(&countingReader{from, r.Progress}, 1<<16)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) || strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(in)
		if err != nil {
			b.broken(0, err)
			return b.record()
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	if mark, _ := in.Peek(3); string(mark) == "\ufeff" {
		_, _ = in.Discard(len(mark))
	}
	head, _ := in.Peek(headSize)
	first := bytes.TrimSpace(head)
	switch {
	case len(head) == 0:
		if _, err := in.ReadByte(); err != nil && err != io.EOF {
			b.broken(0, err)
		}
	case bytes.HasPrefix(first, []byte(ownRemark)):
		readCSV(b, in)
	case bytes.HasPrefix(first, []byte("#")):
		readZeek(b, in)
	case flowlog.Known(head):
		readFlowLog(b, in)
	case bytes.HasPrefix(first, []byte("{")):
		readJSON(b, in)
	default:
		readCSV(b, in)
	}
	return b.record()
}

type countingReader struct {
	io.Reader
	progress func(int)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.progress != nil {
		c.progress(n)
	}
	return n, err
}

// NamesOf is the file beside path that says what the numbers of destinations stand for.
func NamesOf(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path, ".gz"), ".csv") + ".dst.txt"
}

// readNames reads the names beside path: number, name, separated by tabs. nil if there are none.
func readNames(path string) (map[string]string, error) {
	data, err := os.ReadFile(NamesOf(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) >= 2 {
			names[f[0]] = f[1]
		}
	}
	return names, nil
}

func (b *builder) record() *Record {
	b.decide()
	b.rec.name(b.destinations, b.sources, b.vips)
	slices.SortStableFunc(b.rec.Flows, ByStart)
	return b.rec
}
