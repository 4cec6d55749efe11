package record

import (
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// text returns what the files of dir hold together, by their names' order.
func text(t *testing.T, dir string) (all []string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		all = append(all, string(b))
	}
	return all
}

// Whatever moment a recorder is killed at, its files can be read: so they can be after each flush.
func TestFilesCanBeReadAtAnyTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := openFiles(dir, time.Minute, 1<<20, []byte("head\n"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 30 {
		row := fmt.Sprintf("%d\n", i)
		w.add([]byte(row))
		if err := w.flush(at(float64(10*i)), false); err != nil {
			t.Fatal(err)
		}
		if i%6 == 0 { // a minute
			want = append(want, "head\n")
		}
		want[len(want)-1] += row
		if diff := cmp.Diff(want, text(t, dir)); diff != "" {
			t.Fatalf("after row %d (-want +got)\n%s", i, diff)
		}
	}
	if err := w.close(at(300)); err != nil {
		t.Fatal(err)
	}
}

// All files together stay within the bound; the oldest make room, and files of others stay.
func TestFilesAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const most = 1 << 20
	other := filepath.Join(dir, "mine.csv.gz")
	left := filepath.Join(dir, "flows-20200101T000000.000000Z.csv.gz"+unfinished)
	for _, name := range []string{other, left} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w, err := openFiles(dir, time.Hour, most, []byte("head\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("what a killed recorder had begun is there: %v", err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 60_000 {
		w.add(fmt.Appendf(nil, "%016x%016x%016x%016x\n", random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64()))
		if !w.full() {
			continue
		}
		if err := w.flush(at(float64(i)), true); err != nil {
			t.Fatal(err)
		}
		list, err := w.list("$")
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, f := range list {
			total += f.Size()
		}
		if total > most {
			t.Fatalf("%d bytes, want at most %d", total, most)
		}
	}
	if err := w.close(at(70_000)); err != nil {
		t.Fatal(err)
	}
	if w.removed == 0 || w.begun < share {
		t.Errorf("%d files begun, %d removed", w.begun, w.removed)
	}
	if err := os.Remove(other); err != nil { // nobody else has
		t.Error(err)
	}
	for _, s := range text(t, dir) {
		if !strings.HasPrefix(s, "head\n") {
			t.Errorf("a file begins with %.20q", s)
		}
	}
}

func TestAnonymise(t *testing.T) {
	t.Parallel()
	a, err := newAnonymiser()
	if err != nil {
		t.Fatal(err)
	}
	b, err := newAnonymiser()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]bool{}
	const n = 1 << 16
	differ := 0
	for i := range n {
		for _, x := range []netip.Addr{
			netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}),
			netip.AddrFrom16([16]byte{0: 0x20, 14: byte(i >> 8), 15: byte(i)}),
		} {
			y := a.replace(x)
			if y != a.replace(x) || y.Is4() != x.Is4() {
				t.Fatalf("%v becomes %v, and then another", x, y)
			}
			if y != b.replace(x) {
				differ++
			}
			seen[y] = true
		}
	}
	if len(seen) != 2*n {
		t.Errorf("%d addresses became %d", 2*n, len(seen))
	}
	if differ < 2*n-10 { // by chance: one in 2³² each
		t.Errorf("only %d of %d depend on the key", differ, 2*n)
	}
}
