package owner

import (
	"bufio"
	"cmp"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// goneFor is how long the path of a cgroup that is gone is remembered: sockets outlive it.
const goneFor = 10 * time.Minute

// unifiedMounts returns where the cgroup v2 tree is mounted, from the text of /proc/self/mountinfo, the mount that
// shows the most of it first. Within a cgroup namespace, as a container has, / is the container's own cgroup, and a
// mount from outside begins at /.. or higher.
func unifiedMounts(r io.Reader) (out []string) {
	type mount struct {
		path  string
		above int // how far above the namespace's root it begins; less than 0 below it
	}
	var mounts []mount
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		before, after, ok := strings.Cut(scan.Text(), " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || !strings.HasPrefix(after, "cgroup2 ") {
			continue
		}
		// The mount point's spaces are written in octal; a cgroup mount has none.
		m := mount{path: fields[4]}
		for name := range strings.SplitSeq(strings.Trim(fields[3], "/"), "/") {
			switch name {
			case "":
			case "..":
				m.above++
			default:
				m.above--
			}
		}
		mounts = append(mounts, m)
	}
	slices.SortStableFunc(mounts, func(a, b mount) int { return cmp.Compare(b.above, a.above) })
	for _, m := range mounts {
		out = append(out, m.path)
	}
	return out
}

// treeMax bounds how many cgroups a walk takes in.
const treeMax = 200_000

// walkTree calls each with the id and the path, below root, of each cgroup, but no more than most. The id of a cgroup
// is the inode number of its folder. A folder that vanishes meanwhile is left out. more says that there were more.
func walkTree(root string, most int, each func(id uint64, path string)) (more bool) {
	count := 0
	var visit func(path string)
	visit = func(path string) {
		var st syscall.Stat_t
		if more || syscall.Lstat(filepath.Join(root, path), &st) != nil {
			return
		}
		if count++; count > most {
			more = true
			return
		}
		each(st.Ino, path)
		if st.Nlink <= 2 { // no folder is below it, and its files are many
			return
		}
		f, err := os.Open(filepath.Join(root, path))
		if err != nil {
			return
		}
		entries, _ := f.ReadDir(-1)
		_ = f.Close()
		for _, e := range entries {
			if e.IsDir() {
				visit(path + "/" + e.Name())
			}
		}
	}
	visit("")
	return more
}
