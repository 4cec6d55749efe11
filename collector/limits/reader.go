package limits

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// Reader reads the limits of one network namespace again and again: it keeps the files open, so that a read neither
// enters the namespace nor looks a path up. It is not safe for concurrent use.
type Reader struct {
	ns   *netns.Handle
	open *openFiles
}

// NewReader returns a Reader of ns, which the caller keeps open as long as it uses the Reader. It opens nothing yet.
func NewReader(ns *netns.Handle) *Reader { return &Reader{ns: ns} }

// Read returns what Of returns, in some 20 µs once the files are open.
func (r *Reader) Read() (collector.Limits, error) {
	l, err := r.read()
	if err != nil || l.EntriesMax == 0 { // a file is gone, or may be there by now
		r.Close()
		l, err = r.read()
	}
	return l, err
}

func (r *Reader) read() (l collector.Limits, err error) {
	if r.open == nil {
		files := &openFiles{files: map[string]openFile{}, buffer: make([]byte, 4<<10)}
		if err := r.ns.Do(func() error { files.openAll(); return nil }); err != nil {
			return collector.Limits{Netns: r.ns.Inode(), Events: -1}, err
		}
		r.open = files
	}
	l, err = Read(r.open)
	l.Netns = r.ns.Inode()
	return l, err
}

// Events returns Limits.Events alone, in less than a microsecond once the files are open; -1 where it is unknown.
func (r *Reader) Events() int {
	if r.open == nil {
		l, _ := r.Read()
		return l.Events
	}
	b, err := r.open.ReadFile(fileEvents)
	if err != nil {
		return -1
	}
	mode, err := parseEvents(strings.TrimSpace(string(b)))
	if err != nil {
		return -1
	}
	return mode
}

// Close closes the files; a later Read opens them again.
func (r *Reader) Close() {
	if r.open != nil {
		r.open.close()
		r.open = nil
	}
}

// root is what the names of files in this package are below.
const root = "/proc/sys"

// openFiles are open files below /proc/sys by name, as a file system for Read. What /proc/sys/net shows depends on the
// namespace of the thread that opens a file, not on the namespace of the thread that reads it.
type openFiles struct {
	files     map[string]openFile
	opening   bool          // a file that is read is opened
	conntrack []fs.DirEntry // what is in dirConntrack
	dirErr    error
	buffer    []byte
}

// openFile is a file, or why it could not be opened.
type openFile struct {
	file *os.File
	err  error
}

// openAll opens all that Read asks for.
func (o *openFiles) openAll() {
	o.conntrack, o.dirErr = os.ReadDir(root + "/" + dirConntrack)
	o.opening = true
	_, _ = Read(o) // a later Read has the same errors
	o.opening = false
}

// Open makes openFiles an fs.FS; nothing calls it.
func (o *openFiles) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
}

// ReadDir returns what is in dirConntrack.
func (o *openFiles) ReadDir(string) ([]fs.DirEntry, error) { return o.conntrack, o.dirErr }

// ReadFile reads an open file from its start in one system call: the kernel ends a list of ports where a read ends, and
// does not go on with it in the next.
func (o *openFiles) ReadFile(name string) ([]byte, error) {
	f, ok := o.files[name]
	if !ok && o.opening {
		f.file, f.err = os.Open(root + "/" + name)
		o.files[name], ok = f, true
	}
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case f.err != nil:
		return nil, f.err
	}
	for {
		n, err := f.file.ReadAt(o.buffer, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if n < len(o.buffer) {
			return o.buffer[:n], nil
		}
		o.buffer = make([]byte, 4*len(o.buffer))
	}
}

func (o *openFiles) close() {
	for _, f := range o.files {
		if f.file != nil {
			_ = f.file.Close()
		}
	}
}
