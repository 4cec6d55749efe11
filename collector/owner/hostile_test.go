package owner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// watcherOf returns a watcher of a cgroup tree that the test makes of folders, and nothing else.
func watcherOf(t *testing.T) (w *Watcher, root string) {
	t.Helper()
	h, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	root = t.TempDir()
	return New(Config{Outer: h, Proc: t.TempDir(), Tree: root, Files: fileTree(t, nil)}), root
}

func makeFolder(t *testing.T, path ...string) (id uint64) {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	id, _ = inode(dir)
	return id
}

// Ten thousand real cgroups are all told apart in bounded memory, and a process in the last of them is known by its
// socket. Once they are gone they are forgotten.
func TestKernelTenThousandCgroups(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	const many = 10_000
	h, to := newHost(t)
	root := tree(t)
	parent := cgroup(t, root, "kubepods")
	name := func(i int) string { return fmt.Sprintf("pod0b6c7f5e-3f6e-4a0e-9d5c-1c2f3a4b%04x", i) }
	for i := range many {
		if err := os.Mkdir(filepath.Join(parent, name(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	remove := func() {
		for i := range many {
			if dir := filepath.Join(parent, name(i)); os.Remove(dir) != nil && i == many-1 {
				removeCgroup(t, dir) // the workload's
			}
		}
	}
	removed := false
	t.Cleanup(func() {
		if !removed {
			remove()
		}
	})
	own := strings.TrimPrefix(parent, filepath.Join(root, filepath.Base(filepath.Dir(parent)))+"/")
	workload{group: own + "/" + name(many-1), flows: 3}.start(t, h, to, root, "")

	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := New(Config{Outer: h, Files: fileTree(t, nil)})
	w.Look(t.Context())
	runtime.GC()
	runtime.ReadMemStats(&after)
	pods := map[Identity]bool{}
	for _, id := range w.View().Cgroups {
		if strings.HasPrefix(id.ID, "0b6c7f5e-3f6e-4a0e-9d5c-1c2f3a4b") {
			pods[id] = true
		}
	}
	if len(pods) < many {
		t.Errorf("%d pods are told apart, want %d", len(pods), many)
	}
	if grown := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / many; grown > 1024 {
		t.Errorf("%d B a cgroup", grown)
	}
	table := NewTable(w)
	sockets, _ := count(t, w, table, h)
	if diff := cmp.Diff(map[string]int{"pod " + strings.TrimPrefix(name(many-1), "pod"): 3}, sockets); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	runtime.KeepAlive(w)
}

// A machine with more cgroups than are read says so; those that are read have their owners.
func TestMoreCgroupsThanAreRead(t *testing.T) {
	t.Parallel()
	w, root := watcherOf(t)
	for i := range 20 {
		makeFolder(t, root, fmt.Sprintf("%d.service", i))
	}
	w.treeMax = 10
	w.Look(t.Context())
	if v := w.View(); len(v.Cgroups) != 10 || len(v.Missing) != 1 || !strings.Contains(v.Missing[0], "more than 10 cgroups") {
		t.Errorf("%d cgroups, missing %q", len(v.Cgroups), v.Missing)
	}
	w.treeMax = 21
	w.want(wantCgroups)
	w.Look(t.Context())
	if v := w.View(); len(v.Cgroups) != 21 || len(v.Missing) != 0 {
		t.Errorf("%d cgroups, missing %q", len(v.Cgroups), v.Missing)
	}
}

// An id that was another cgroup's belongs to the new one at once, although the old one is remembered while it is gone.
func TestCgroupIDIsReused(t *testing.T) {
	t.Parallel()
	w, root := watcherOf(t)
	id := makeFolder(t, root, "docker", id1)
	look := func(want Identity) {
		t.Helper()
		w.want(wantCgroups)
		w.Look(t.Context())
		if diff := cmp.Diff(want, w.View().Cgroups[id]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	look(container(id1))
	move(filepath.Join(root, "docker", id1), filepath.Join(root, "docker", id2))
	look(container(id2))
	away := filepath.Join(t.TempDir(), "away")
	move(filepath.Join(root, "docker", id2), away)
	look(container(id2)) // sockets outlive it
	move(away, filepath.Join(root, "nginx.service"))
	look(unit("nginx.service"))
	move(filepath.Join(root, "nginx.service"), away)
	for id := range w.gone {
		w.gone[id] = time.Now().Add(-2 * goneFor)
	}
	look(unit("nginx.service")) // gone since now, not since then
	w.gone[id] = time.Now().Add(-2 * goneFor)
	look(Identity{})
}

// A UID in two trees, as on a machine whose kubelet changed its driver, is one pod.
func TestUIDInTwoTrees(t *testing.T) {
	t.Parallel()
	w, root := watcherOf(t)
	ids := []uint64{
		makeFolder(t, root, "kubepods", "burstable", "pod"+uid, id1),
		makeFolder(t, root, "kubepods.slice", "kubepods-burstable.slice", "kubepods-burstable-pod"+under+".slice", "cri-containerd-"+id1+".scope"),
		makeFolder(t, root, "docker", id2, "kubelet", "kubepods", "pod"+uid, digits("a1")),
	}
	w.Look(t.Context())
	table := NewTable(w)
	numbers := map[collector.OwnerNumber]bool{}
	for _, id := range ids {
		f := flow("192.0.2.1:5000", func(f *collector.Flow) { f.Cgroup, f.Netns = id, w.outer() })
		events := []collector.Event{{Kind: collector.Seen, Flow: f}}
		table.Attribute(events, true)
		n := events[0].Flow.Owner
		numbers[n] = true
		if whole := table.Identity(table.Whole(n)); whole != pod(uid, "") {
			t.Errorf("cgroup %d is in %+v", id, whole)
		}
	}
	if len(numbers) != 2 {
		t.Errorf("%d owners, want the containers %s and %s", len(numbers), id1[:4], "a1a1")
	}
}

// Cgroups that come and go while the tree is read take nothing from those that stay.
func TestCgroupsThatVanishWhileTheyAreRead(t *testing.T) {
	t.Parallel()
	w, root := watcherOf(t)
	stays := makeFolder(t, root, "kubepods", "pod"+uid, id1)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for i := range 4 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				top := filepath.Join(root, "kubepods", fmt.Sprintf("pod0b6c7f5e-3f6e-4a0e-9d5c-1c2f3a4b%02x%02x", i, n%8))
				_ = os.MkdirAll(filepath.Join(top, digits(fmt.Sprintf("%02x", n%16))), 0o755)
				_ = os.RemoveAll(top)
			}
		})
	}
	for range 200 {
		w.want(wantCgroups)
		w.Look(t.Context())
		v := w.View()
		if got := v.Cgroups[stays]; got != pod(uid, id1) {
			t.Fatalf("the pod that stays is %+v", got)
		}
	}
}
