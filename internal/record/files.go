package record

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

const (
	// filesMax bounds how many files there are.
	filesMax = 1000
	// share is how many files of full size there may be at least.
	share = 8
	// fullBytes is how much text waits, at most, before it is written.
	fullBytes = 64 << 10
	// flushAfter is how long text waits, at most, while dumps come.
	flushAfter = 10 * time.Second
)

// files writes text to compressed files of dir. A file is whole gzip members, one behind the other, each written in one
// call, and it gets its name with its first: whenever the process is killed, what is there can be read.
type files struct {
	dir             string
	rotate          time.Duration
	maxBytes        int64
	header          []byte
	text            bytes.Buffer
	rows            int // of text
	flushed, opened collector.Time
	file            *os.File // nil: none is open
	size            int64    // of file
	squeezed        bytes.Buffer
	gzip            *gzip.Writer
	begun, removed  int
}

// fileForm is the form of the names that this package gives; it removes no others.
const fileForm = `^flows-\d{8}T\d{6}\.\d{6}Z\.csv\.gz`

const unfinished = ".new"

func openFiles(dir string, rotate time.Duration, maxBytes int64, header []byte) (*files, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	w := &files{dir: dir, rotate: rotate, maxBytes: maxBytes, header: header}
	var err error
	if w.gzip, err = gzip.NewWriterLevel(&w.squeezed, gzip.BestSpeed); err != nil {
		return nil, err
	}
	old, err := w.list(regexp.QuoteMeta(unfinished) + "$")
	if err != nil {
		return nil, err
	}
	for _, o := range old { // of one that was killed
		if err := os.Remove(filepath.Join(dir, o.Name())); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// list returns the files of this package's names that end in suffix, the oldest first.
func (w *files) list(suffix string) ([]fs.FileInfo, error) {
	all, err := os.ReadDir(w.dir)
	if err != nil {
		return nil, err
	}
	form, err := regexp.Compile(fileForm + suffix)
	if err != nil {
		return nil, err
	}
	var found []fs.FileInfo
	for _, e := range all { // ordered by name, which is by time
		if !form.MatchString(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		if info, err := e.Info(); err == nil { // else it is gone
			found = append(found, info)
		}
	}
	return found, nil
}

// add adds a row.
func (w *files) add(row []byte) {
	w.rows++
	_, _ = w.text.Write(row)
}

// note adds a line that is no row.
func (w *files) note(text string, at collector.Time) {
	_, _ = w.text.WriteString("# " + text)
	_, _ = w.text.Write(append(appendTime(w.text.AvailableBuffer(), at), '\n'))
}

// full reports whether the text that waits should be written.
func (w *files) full() bool { return w.text.Len() >= fullBytes }

// flush writes the text that waits: if it has waited for long enough, or now.
func (w *files) flush(at collector.Time, now bool) error {
	if w.rows == 0 || !now && at.Sub(w.flushed) < flushAfter {
		return nil
	}
	w.flushed = at
	if w.file != nil && (at.Sub(w.opened) >= w.rotate || w.size >= w.maxBytes/share-fullBytes) {
		if err := w.closeFile(); err != nil {
			return err
		}
	}
	if w.file == nil {
		return w.begin(at)
	}
	return w.member(nil)
}

// begin makes room, and begins a file with the text that waits.
func (w *files) begin(at collector.Time) error {
	if err := w.makeRoom(); err != nil {
		return err
	}
	name := fmt.Sprintf("flows-%s.csv.gz", time.Unix(0, int64(at)).UTC().Format("20060102T150405.000000Z"))
	path := filepath.Join(w.dir, name)
	f, err := os.OpenFile(path+unfinished, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w.file, w.size, w.opened = f, 0, at
	w.begun++
	err = w.member(w.header)
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+unfinished))
	}
	return nil
}

// member writes one gzip member: first, and the text that waits. If that fails half way, the file ends where it did.
func (w *files) member(first []byte) error {
	w.squeezed.Reset()
	w.gzip.Reset(&w.squeezed)
	for _, b := range [][]byte{first, w.text.Bytes()} {
		if _, err := w.gzip.Write(b); err != nil {
			return err
		}
	}
	if err := w.gzip.Close(); err != nil {
		return err
	}
	w.text.Reset()
	w.rows = 0
	n, err := w.file.Write(w.squeezed.Bytes())
	if err != nil {
		return errors.Join(err, w.file.Truncate(w.size))
	}
	w.size += int64(n)
	return nil
}

// makeRoom removes the oldest files until one more of full size fits.
func (w *files) makeRoom() error {
	old, err := w.list("$")
	if err != nil {
		return err
	}
	var total int64
	for _, o := range old {
		total += o.Size()
	}
	for len(old) > 0 && (total > w.maxBytes-w.maxBytes/share || len(old) >= filesMax) {
		if err := os.Remove(filepath.Join(w.dir, old[0].Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		w.removed++
		total -= old[0].Size()
		old = old[1:]
	}
	return nil
}

func (w *files) closeFile() error {
	err := errors.Join(w.file.Sync(), w.file.Close())
	w.file = nil
	return err
}

// close writes what waits and closes the file.
func (w *files) close(at collector.Time) error {
	err := w.flush(at, true)
	if w.file == nil {
		return err
	}
	return errors.Join(err, w.closeFile())
}
