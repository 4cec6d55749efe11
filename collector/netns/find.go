package netns

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// othersMax is how many paths to a namespace are remembered beside the first.
const othersMax = 7

// Netns is one network namespace and the paths that lead to it.
type Netns struct {
	// Inode is its name in events and metrics.
	Inode uint64
	// Path can be opened: a bind mount where there is one, else /proc/PID/ns/net of
	// one of its processes.
	Path string
	// Others lead there too, at most 7. They are tried in turn where Path leads there no
	// longer, because the process has ended or the mount is undone.
	Others []string
	// PID is one of its processes, 0 where none was seen.
	PID int
}

// Open opens the namespace. The error is the one of opening Path; it wraps ErrGone when Path leads to
// another namespace by now.
func (n Netns) Open() (*Handle, error) {
	h, err := n.openAt(n.Path)
	if err == nil {
		return h, nil
	}
	for _, path := range n.Others {
		if h, otherErr := n.openAt(path); otherErr == nil {
			return h, nil
		}
	}
	return nil, err
}

func (n Netns) openAt(path string) (*Handle, error) {
	h, err := Open(path)
	if err != nil {
		return nil, err
	}
	if h.Inode() != n.Inode {
		_ = h.Close()
		return nil, fmt.Errorf("open %s: %w", path, ErrGone)
	}
	return h, nil
}

// ProcessFolder returns the folder below /proc of a process in n, empty if none is known to be there still.
func (n Netns) ProcessFolder() string {
	if n.PID == 0 {
		return ""
	}
	folder := fmt.Sprintf("/proc/%d", n.PID)
	if inode, err := inodeAt(folder + "/ns/net"); err != nil || inode != n.Inode {
		return ""
	}
	return folder
}

// Alive reports whether a path still leads to the namespace: a look of some
// microseconds between two calls of Find.
func (n Netns) Alive() bool {
	leads := func(path string) bool {
		inode, err := inodeAt(path)
		return err == nil && inode == n.Inode
	}
	return leads(n.Path) || slices.ContainsFunc(n.Others, leads)
}

// Finder finds the network namespaces of the machine. The zero value works.
type Finder struct {
	// Proc is the mount point of procfs, default /proc. Processes that hidepid= hides
	// are not seen and not counted.
	Proc string
	// Mounts are the directories with namespaces bound to a name, default
	// /run/netns (iproute2, CNI) and /run/docker/netns.
	Mounts []string
}

// Find returns every namespace that it can see, in order of Inode. A namespace that only a
// file descriptor keeps alive is not seen. Where processes refuse to be looked at, the
// namespaces seen so far come with an *AccessError that says how many and what is missing.
func (f Finder) Find() ([]Netns, error) {
	proc := cmp.Or(f.Proc, "/proc")
	mounts := f.Mounts
	if mounts == nil {
		mounts = []string{"/run/netns", "/run/docker/netns"}
	}
	found := found{}
	for _, dir := range mounts {
		found.mounted(dir)
	}
	hidden, err := found.processes(proc)
	if err != nil {
		return nil, err
	}
	list := make([]Netns, 0, len(found))
	for _, n := range found {
		list = append(list, *n)
	}
	slices.SortFunc(list, func(a, b Netns) int { return cmp.Compare(a.Inode, b.Inode) })
	if hidden > 0 {
		return list, denied("see the network namespaces of other processes", hidden,
			Capabilities(0).With(SysPtrace), fs.ErrPermission)
	}
	return list, nil
}

// found are the namespaces found so far, by inode.
type found map[uint64]*Netns

// add adds a path to a namespace; pid is the process that the path is of, 0 if none.
func (f found) add(inode uint64, path string, pid int) {
	n := f[inode]
	if n == nil {
		f[inode] = &Netns{Inode: inode, Path: path, PID: pid}
		return
	}
	if n.PID == 0 {
		n.PID = pid
	}
	if len(n.Others) < othersMax {
		n.Others = append(n.Others, path)
	}
}

// mounted adds the namespaces bound to names in a directory. One that cannot be read is not used on this machine, or
// not for our eyes.
func (f found) mounted(dir string) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range names {
		path := filepath.Join(dir, e.Name())
		if inode, err := mountedAt(path); err == nil {
			f.add(inode, path, 0)
		}
	}
}

// processes adds the namespaces of the processes below proc. It returns how many refused to be looked at.
func (f found) processes(proc string) (hidden int, err error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		path := filepath.Join(proc, e.Name(), "ns", "net")
		inode, err := inodeAt(path)
		switch {
		case err == nil:
			f.add(inode, path, pid)
		case errors.Is(err, fs.ErrPermission):
			hidden++
		}
		// Anything else: the process has ended.
	}
	return hidden, nil
}

// mountedAt returns the inode of the namespace bound to path. A file without a
// mount (left behind by a crash) or with another kind of namespace is an error.
func mountedAt(path string) (uint64, error) {
	var fsType unix.Statfs_t
	if err := unix.Statfs(path, &fsType); err != nil {
		return 0, err
	}
	if fsType.Type != unix.NSFS_MAGIC {
		return 0, errors.New("not a namespace")
	}
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	return inodeOf(f)
}
