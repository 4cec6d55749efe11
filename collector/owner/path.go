package owner

import (
	"strings"

	"github.com/snatwatch/snatwatch/collector"
)

// Identity is what a cgroup's path says of an owner. Names come later: a path has IDs alone.
type Identity struct {
	Kind collector.OwnerKind
	// ID is a pod's UID with dashes, a container's 64 digits, a unit's name, a process's command or a client's address.
	ID string
	// Container is the ID of the container within a pod, empty where unknown.
	Container string
}

// ParsePath returns the owner that the path of a cgroup tells, such as
// /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0b…slice/cri-containerd-6f….scope. A pod counts
// before the container that it runs in (a cluster within a container), the innermost container before the one around
// it, and both before units. The root of the tree tells nothing: KindUnknown.
func ParsePath(path string) Identity {
	var pod, container, unit string
	for rest := strings.Trim(path, "/"); rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		// containerd that takes systemd's form of a path for a folder: kubepods-pod….slice:cri-containerd:6f….
		slice, id, _ := strings.Cut(name, ":")
		if uid := podUID(slice); uid != "" {
			pod, container = uid, containerID(id)
			continue
		}
		if id := containerID(name); id != "" {
			container = id
			continue
		}
		if isUnit(name) {
			unit = name
		}
	}
	switch {
	case pod != "":
		return Identity{Kind: collector.KindPod, ID: pod, Container: container}
	case container != "":
		return Identity{Kind: collector.KindContainer, ID: container}
	case unit != "":
		return Identity{Kind: collector.KindUnit, ID: unit}
	}
	// /proc shows a process outside of the reader's cgroup namespace by way of the namespace's root.
	path = strings.Trim(path, "/")
	for path == ".." || strings.HasPrefix(path, "../") {
		path = strings.TrimPrefix(strings.TrimPrefix(path, ".."), "/")
	}
	if path != "" {
		return Identity{Kind: collector.KindUnit, ID: "/" + path}
	}
	return Identity{Kind: collector.KindUnknown}
}

// isUnit reports whether a folder is a unit of systemd that runs something. A slice only groups others, so that it
// counts where nothing is below it: then the whole path is the owner's name.
func isUnit(name string) bool {
	return strings.HasSuffix(name, ".service") || strings.HasSuffix(name, ".scope") || strings.HasSuffix(name, ".socket")
}

// podUID returns the UID in the name of a pod's cgroup, empty if it is none: pod<uid> by the cgroupfs driver,
// kubepods-besteffort-pod<uid with underscores>.slice by the systemd driver, kubelet-kubepods-… in kind. The UID of a
// static pod is a hash of 32 digits.
func podUID(name string) string {
	uid, cgroupfs := strings.CutPrefix(name, "pod")
	if !cgroupfs {
		slice, ok := strings.CutSuffix(name, ".slice")
		if !ok || !strings.Contains(slice, "kubepods") {
			return ""
		}
		at := strings.LastIndex(slice, "-pod")
		if at < 0 {
			return ""
		}
		uid = strings.ReplaceAll(slice[at+len("-pod"):], "_", "-")
	}
	if len(uid) == 32 && isHex(uid) {
		return uid
	}
	if len(uid) != 36 {
		return ""
	}
	for i := range len(uid) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (uid[i] == '-') || !dash && !isHex(uid[i:i+1]) {
			return ""
		}
	}
	return uid
}

// containerID returns the 64 digits in the name of a container's cgroup, empty if it is none: <id> by Docker and
// containerd with the cgroupfs driver, docker-<id>.scope, cri-containerd-<id>.scope, crio-<id>.scope and
// libpod-<id>.scope by the systemd driver, libpod-<id> by Podman with cgroupfs. The cgroup of the monitor,
// crio-conmon-<id>.scope or libpod-conmon-<id>.scope, is not the container's.
func containerID(name string) string {
	name = strings.TrimSuffix(name, ".scope")
	if at := strings.LastIndexAny(name, "-:"); at >= 0 {
		if strings.HasSuffix(name[:at], "conmon") {
			return ""
		}
		name = name[at+1:]
	}
	if len(name) != 64 || !isHex(name) {
		return ""
	}
	return name
}

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}
