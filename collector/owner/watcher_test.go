package owner

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// A flow that waits for its owner does not wait for the next look in turn.
func TestRunLooksWhereSomethingIsWanted(t *testing.T) {
	t.Parallel()
	h, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	w := New(Config{Outer: h, Interval: 24 * time.Hour, Proc: t.TempDir(), Tree: t.TempDir(), Share: 1})
	w.Look(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for range 3 {
		before := w.View()
		w.want(wantCgroups)
		for deadline := time.Now().Add(time.Minute); w.View() == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no look within a minute")
			}
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
}

// What the next dump of conntrack alone can make use of waits until a dump is expected.
func TestExpect(t *testing.T) {
	t.Parallel()
	h, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	for _, tt := range []struct {
		name          string
		want          uint32
		asks, expects bool // for a look at once, and where a dump is expected
	}{
		{"nothing", 0, false, false},
		{"sockets", wantSockets, false, true},
		{"sockets of a namespace that several share", wantInner, false, true},
		{"a new cgroup", wantCgroups, true, true},
		{"a new namespace", wantSpaces, true, true},
		{"processes, for flows of sockets", wantInodes, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := New(Config{Outer: h, Proc: t.TempDir(), Tree: t.TempDir()})
			w.Look(t.Context())
			w.wanted.Store(0)
			w.want(tt.want)
			if asks := len(w.asked) == 1; asks != tt.asks {
				t.Errorf("asks for a look at once: %t", asks)
			}
			w.Expect()
			if asks := len(w.asked) == 1; asks != tt.expects {
				t.Errorf("asks for a look before the dump: %t", asks)
			}
			if all := w.expected.Load(); all != (tt.want&patient != 0) {
				t.Errorf("that look is at all that is wanted: %t", all)
			}
		})
	}
}

// What is missing does not come and go with looks that had no need of it.
func TestMissingStands(t *testing.T) {
	t.Parallel()
	w := New(Config{Tree: "/sys/fs/cgroup"})
	w.innerErr = errors.New("refused")
	v := &View{Several: map[netip.Addr]bool{netip.MustParseAddr("10.0.0.7"): true}}
	if w.readShared(t.Context(), v, 0); len(w.missing(time.Now())) != 1 {
		t.Error("nothing is missing after a look that did not try")
	}
	v.Several = nil
	if w.readShared(t.Context(), v, 0); len(w.missing(time.Now())) != 0 {
		t.Error("it is missing though nobody needs it any more")
	}
}

// What comes now and then is no streak; what comes again and again is one until it ends.
func TestStreak(t *testing.T) {
	t.Parallel()
	var s streak
	at := func(seconds int) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(seconds) * time.Second)
	}
	for _, now := range []int{0, 10, 60, 70, 80, 90} {
		s.add(at(now))
		if s.lasts(at(now)) {
			t.Errorf("a streak after %d s", now)
		}
	}
	if s.add(at(100)); !s.lasts(at(101)) {
		t.Error("no streak after 40 s")
	}
	if s.lasts(at(116)) {
		t.Error("a streak that has ended goes on")
	}
}

// A runtime starts a container's process and then puts it into its cgroup: what is seen between is not taken for the
// owner.
func TestProcessThatBecomesAContainer(t *testing.T) {
	t.Parallel()
	h, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	proc := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		path = filepath.Join(proc, "17", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("net/dev", "")
	write("net/fib_trie", "     |-- 10.0.0.9\n        /32 host LOCAL\n")
	write("cgroup", "0::/\n")
	write("comm", "runc:[2:INIT]\n")
	w := New(Config{Outer: h, Proc: proc, Tree: t.TempDir(), Files: fileTree(t, nil)})
	for _, want := range []Identity{{Kind: collector.KindUnknown}, container(id1), container(id1)} {
		w.Look(t.Context())
		if diff := cmp.Diff(want, w.View().Addresses[addr("10.0.0.9")]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		write("cgroup", "0::/libpod_parent/libpod-"+id1+"\n")
		write("comm", "web\n")
	}
}
