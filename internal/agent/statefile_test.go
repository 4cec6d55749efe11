package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/detector"
	"github.com/snatwatch/snatwatch/detector/budget"
	"github.com/snatwatch/snatwatch/detector/ledger"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// newStateLoop is a loop of both ledgers that nobody runs.
func newStateLoop(t testing.TB, now func() collector.Time) *loop {
	t.Helper()
	budgets := []*budget.Budget{
		resolved(t, budget.Params{Name: "nat", Model: "azure-lb-2018", Nodes: 10}),
		resolved(t, budget.Params{Name: "local", Model: "local", PortRange: collector.PortRange{First: 32768, Last: 60999}}),
	}
	return newLoop(now, budgets, func(*detector.Snapshot) {}, func(budgets []*budget.Budget) *ledger.Ledger {
		return ledger.New(ledger.Config{Budgets: budgets, Start: now()})
	})
}

func TestStateFileIsKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "state")
	synctest.Test(t, func(t *testing.T) {
		now := collector.Clock()
		logs := &logtest.Lines{}
		logger := slog.New(slog.NewTextHandler(logs, nil))
		b := &base{logger: logger, now: now, notices: newNotices(logger)}
		f := &stateFile{base: b, path: path, loop: newStateLoop(t, now)}
		f.load() // not there: no mistake
		ctx, cancel := context.WithCancel(t.Context())
		ended, done := make(chan struct{}), make(chan error, 1)
		go func() { defer close(ended); _ = f.loop.run(ctx) }()
		go func() { done <- f.keep(ctx, ended) }()
		time.Sleep(saveEvery + time.Second)
		synctest.Wait()
		first, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("keepState returned %v", err)
		}
		last, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(first) == string(last) {
			t.Error("the state was not written at the end")
		}
		again := &stateFile{base: b, path: path, loop: newStateLoop(t, now)}
		again.load()
		if all := strings.Join(logs.All(), ""); !strings.Contains(all, "state restored") || strings.Contains(all, "WARN") {
			t.Errorf("log:\n%s", all)
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("left behind: %v, %v", entries, err)
		}
	})
}

func TestStateFileThatIsBad(t *testing.T) {
	t.Parallel()
	now := collector.Clock()
	good := newStateLoop(t, now).learned()
	damaged := append([]byte{}, good...)
	damaged[len(damaged)/4] ^= 1
	for name, b := range map[string][]byte{
		"empty": nil, "cut off": good[:len(good)-3], "shorter than it says": good[:20], "damaged": damaged, "text": []byte("budgets: []\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newStateLoop(t, now)
			if err := l.restore(b, now()); err == nil {
				t.Error("no error")
			}
			if got := l.snapshot(); len(got.Budgets) != 2 {
				t.Errorf("budgets afterwards: %d", len(got.Budgets))
			}
		})
	}
}

func TestStateFileThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	b := &base{notices: newNotices(slog.New(slog.DiscardHandler))}
	f := &stateFile{base: b, path: filepath.Join(t.TempDir(), "no", "such", "folder")}
	f.save([]byte("x"))
	if got := f.notices.list(); len(got) != 1 || !strings.Contains(got[0], "not written") {
		t.Errorf("notices: %q", got)
	}
}

// What stands in the way of the state file is named; nothing is written elsewhere, and nobody waits.
func TestStateFileInTheWay(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		place func(t *testing.T, path string)
		write string // in the error of a write to path, empty where it works
		read  string // in the error of a read of path, empty where it works
	}{
		{name: "a write that was killed", place: func(t *testing.T, path string) { put(t, path+".new", "half") }},
		{name: "a link at .new", place: func(t *testing.T, path string) {
			put(t, path+".elsewhere", "precious")
			if err := os.Symlink(path+".elsewhere", path+".new"); err != nil {
				t.Fatal(err)
			}
		}, write: "state.new: want no file or a regular one"},
		{name: "a FIFO at .new", place: func(t *testing.T, path string) { fifo(t, path+".new") }, write: "state.new: want no file or a regular one"},
		{name: "a FIFO as the state", place: fifo, read: "state: want a regular file"},
		{name: "a folder as the state", place: func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, read: "state: want a regular file", write: "file exists"},
		{name: "a state beyond all bounds", place: func(t *testing.T, path string) {
			put(t, path, "")
			if err := os.Truncate(path, 3<<30); err != nil {
				t.Fatal(err)
			}
		}, read: "state: 3221225472 bytes, want at most 67108864"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "state")
			tt.place(t, path)
			if _, err := readState(path); tt.read != "" && (err == nil || !strings.Contains(err.Error(), tt.read)) {
				t.Errorf("read: %v, want %q", err, tt.read)
			}
			err := writeAtomically(path, []byte("state"))
			if tt.write == "" && err != nil || tt.write != "" && (err == nil || !strings.Contains(err.Error(), tt.write)) {
				t.Errorf("write: %v, want %q", err, tt.write)
			}
			if b, err := os.ReadFile(path + ".elsewhere"); err == nil && string(b) != "precious" {
				t.Errorf("the file behind the link holds %q", b)
			}
			if tt.write == "" {
				if b, err := readState(path); err != nil || string(b) != "state" {
					t.Errorf("read back %q, %v", b, err)
				}
			}
		})
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func fifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A state whose local part no ledger wants must be whole all the same.
func TestStateFileTrailingBytes(t *testing.T) {
	t.Parallel()
	now := collector.Clock()
	both := newStateLoop(t, now).learned()
	one := newLoop(now, []*budget.Budget{resolved(t, budget.Params{Name: "nat", Model: "azure-lb-2018", Nodes: 10})}, func(*detector.Snapshot) {},
		func(budgets []*budget.Budget) *ledger.Ledger {
			return ledger.New(ledger.Config{Budgets: budgets, Start: now()})
		})
	if err := one.restore(both, now()); err != nil {
		t.Errorf("a state of two ledgers: %v", err)
	}
	if err := one.restore(append(slices.Clone(both), "junk"...), now()); err == nil {
		t.Error("trailing bytes: no error")
	}
	if err := one.restore(append(one.learned(), "junk"...), now()); err == nil {
		t.Error("trailing bytes after one ledger: no error")
	}
}

// A file is taken in if the lengths at its beginning cut what follows into whole states, or none, and nothing is
// left over. pieces says what follows them: a state that a ledger wrote, half of it, or a byte.
func FuzzRestoreFrame(f *testing.F) {
	now := collector.Clock()
	whole := newStateLoop(f, now).ledgers[0].AppendState(nil)
	n := uint64(len(whole))
	f.Add(n, n, n, "www", 3*len(whole)+stateHeader)
	f.Add(n, uint64(0), uint64(0), "w", 1<<20)
	f.Add(uint64(0), n, uint64(0), "w", 1<<20)
	f.Add(n, n, uint64(0), "wwj", 1<<20)
	f.Add(n, n, uint64(0), "wh", 1<<20)
	f.Add(uint64(0), uint64(0), uint64(0), "", 1<<20)
	f.Add(uint64(1<<63), uint64(1<<63), n, "ww", 1<<20)
	f.Add(n, n, uint64(0), "ww", 9)
	f.Fuzz(func(t *testing.T, first, second, third uint64, pieces string, cut int) {
		lengths := [budget.NumStages]uint64{first, second, third}
		var frame []byte
		for _, n := range lengths {
			frame = binary.LittleEndian.AppendUint64(frame, n)
		}
		for _, piece := range []byte(pieces[:min(len(pieces), 8)]) {
			switch piece {
			case 'w':
				frame = append(frame, whole...)
			case 'h':
				frame = append(frame, whole[:n/2]...)
			default:
				frame = append(frame, piece)
			}
		}
		frame = frame[:min(max(cut, 0), len(frame))]
		want := len(frame) >= stateHeader
		if want {
			rest := frame[stateHeader:]
			for _, n := range lengths {
				part := rest[:min(n, uint64(len(rest)))]
				want = want && uint64(len(part)) == n && (n == 0 || bytes.Equal(part, whole))
				rest = rest[len(part):]
			}
			want = want && len(rest) == 0
		}
		l := newStateLoop(t, now)
		if err := l.restore(frame, now()); (err == nil) != want {
			t.Errorf("lengths %d before %q, %d bytes in all: %v", lengths, pieces, len(frame), err)
		}
		if again := l.learned(); newStateLoop(t, now).restore(again, now()) != nil {
			t.Errorf("what is written after that cannot be read: %d bytes", len(again))
		}
	})
}
