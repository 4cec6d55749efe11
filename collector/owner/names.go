package owner

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// Files are where names of pods and containers stand. The zero value is where the kubelet and the runtimes keep them.
// All are read and none is needed: an owner without a name is shown by its ID.
type Files struct {
	// PodLogs has a folder namespace_name_uid for each pod of the kubelet; default /var/log/pods. Everyone may read it.
	PodLogs string
	// ContainerLogs has a link pod_namespace_container-id.log for each container of the kubelet, whatever the runtime;
	// default /var/log/containers. Everyone may read it.
	ContainerLogs string
	// Storage has a folder DRIVER-containers with the lists of Podman's and CRI-O's containers; default
	// /var/lib/containers/storage. It takes root to read, as the next two do.
	Storage string
	// Docker has a folder for each container of Docker; default /var/lib/docker/containers.
	Docker string
	// Containerd are folders NAMESPACE/ID of what containerd runs; default the folders of containerd itself and of k3s.
	Containerd []string
}

func (f Files) withDefaults() Files {
	set := func(s *string, path string) {
		if *s == "" {
			*s = path
		}
	}
	set(&f.PodLogs, "/var/log/pods")
	set(&f.ContainerLogs, "/var/log/containers")
	set(&f.Storage, "/var/lib/containers/storage")
	set(&f.Docker, "/var/lib/docker/containers")
	if f.Containerd == nil {
		f.Containerd = []string{
			"/run/containerd/io.containerd.runtime.v2.task",
			"/run/k3s/containerd/io.containerd.runtime.v2.task",
		}
	}
	return f
}

// namesMax bounds what is read of one file.
const namesMax = 16 << 20

// names are what files tell of pods, by UID, and of containers, by ID.
type names struct {
	of map[string]string
	// sandboxes are the containers that hold a pod's namespaces open and run nothing of it.
	sandboxes map[string]bool
}

func newNames() names { return names{map[string]string{}, map[string]bool{}} }

func (n *names) put(id, name string) {
	if id != "" && name != "" && n.of[id] == "" {
		n.of[id] = name
	}
}

// ids are the IDs that names are wanted of.
type ids struct{ pods, containers map[string]bool }

// named reports whether n has a name for each of them.
func (n *names) named(wanted map[string]bool) bool {
	for id := range wanted {
		if n.of[id] == "" && !n.sandboxes[id] {
			return false
		}
	}
	return true
}

// read returns the names of wanted, as far as the files tell. Files that are dear to read come last and are read for
// what no other names.
func (f Files) read(wanted ids) names {
	out := newNames()
	if len(wanted.pods) > 0 {
		f.readPodLogs(&out)
		f.readContainerLogs(&out)
	}
	if !out.named(wanted.containers) {
		f.readStorage(&out)
	}
	for id := range wanted.containers {
		if out.of[id] == "" && !out.sandboxes[id] {
			f.readDocker(id, &out)
		}
	}
	if !out.named(wanted.containers) || !out.named(wanted.pods) {
		f.readContainerd(wanted, &out)
	}
	return out
}

// readNames reads names again if a pod or container is new and has none, and all if whole.
func (w *Watcher) readNames(now time.Time, whole bool) {
	wanted, added := ids{map[string]bool{}, map[string]bool{}}, whole
	want := func(set, nameless map[string]bool, id string) {
		set[id], w.named[id] = true, now
		added = added || w.names.of[id] == "" && !w.names.sandboxes[id] && !nameless[id]
	}
	of := func(id Identity) {
		switch id.Kind {
		case collector.KindContainer:
			want(wanted.containers, w.nameless.containers, id.ID)
		case collector.KindPod:
			want(wanted.pods, w.nameless.pods, id.ID)
			if id.Container != "" {
				want(wanted.containers, w.nameless.containers, id.Container)
			}
		}
	}
	for _, id := range w.cgroups {
		of(id)
	}
	for _, p := range w.processes { // of v1 trees, too
		of(p.id)
	}
	if !added || len(wanted.pods)+len(wanted.containers) == 0 {
		return
	}
	found, next := w.cfg.Files.read(wanted), newNames()
	w.nameless = ids{map[string]bool{}, map[string]bool{}}
	keep := func(wanted, nameless map[string]bool) {
		for id := range wanted {
			next.put(id, found.of[id])
			next.put(id, w.names.of[id])
			if found.sandboxes[id] || w.names.sandboxes[id] {
				next.sandboxes[id] = true
			} else if next.of[id] == "" {
				nameless[id] = true
			}
		}
	}
	keep(wanted.pods, w.nameless.pods)
	keep(wanted.containers, w.nameless.containers)
	for id, last := range w.named {
		if now.Sub(last) > goneFor {
			delete(w.named, id)
			continue
		}
		next.put(id, w.names.of[id])
	}
	w.names = next
}

func list(folder string) []string {
	d, err := os.Open(folder)
	if err != nil {
		return nil
	}
	defer func() { _ = d.Close() }()
	names, _ := d.Readdirnames(-1) // what came before an error is good
	return names
}

// readPodLogs reads the names of the kubelet's log folders. The UID in them is the one in the cgroup, for static pods
// too.
func (f Files) readPodLogs(out *names) {
	for _, name := range list(f.PodLogs) {
		// Neither a namespace nor a pod's name may have an underscore.
		if part := strings.Split(name, "_"); len(part) == 3 {
			out.put(part[2], part[0]+"/"+part[1])
		}
	}
}

// readContainerLogs reads the names of the kubelet's links. A sandbox has none. A name that would be longer than a
// file system allows is cut by the kubelet, at its end, where the ID stands: it tells nothing then.
func (f Files) readContainerLogs(out *names) {
	for _, name := range list(f.ContainerLogs) {
		name, ok := strings.CutSuffix(name, ".log")
		part := strings.Split(name, "_")
		if !ok || len(part) != 3 {
			continue
		}
		if at := strings.LastIndexByte(part[2], '-'); at > 0 && containerID(part[2][at+1:]) != "" {
			out.put(part[2][at+1:], part[2][:at])
		}
	}
}

// readStorage reads the lists of containers/storage. Containers that vanish with their end have a list of their own.
func (f Files) readStorage(out *names) {
	lists, _ := filepath.Glob(filepath.Join(f.Storage, "*-containers", "*containers.json"))
	for _, path := range lists {
		var list []struct {
			ID    string   `json:"id"`
			Names []string `json:"names"`
		}
		if readJSON(path, &list) != nil {
			continue
		}
		for _, c := range list {
			if len(c.Names) > 0 {
				out.container(c.ID, c.Names[0])
			}
		}
	}
}

func (f Files) readDocker(id string, out *names) {
	var c struct{ Name string }
	if readJSON(filepath.Join(f.Docker, id, "config.v2.json"), &c) == nil {
		out.container(id, strings.TrimPrefix(c.Name, "/"))
	}
}

// container takes in the name that Podman, CRI-O or Docker has for a container. Below Kubernetes CRI-O and Docker write
// k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT, where the sandbox is the container POD.
func (n *names) container(id, name string) {
	part := strings.Split(name, "_")
	if len(part) != 6 || part[0] != "k8s" || podUID("pod"+part[4]) == "" {
		n.put(id, name)
		return
	}
	n.put(part[4], part[3]+"/"+part[2])
	n.inPod(id, part[1], part[1] == "POD")
}

func (n *names) inPod(id, name string, sandbox bool) {
	if sandbox {
		n.sandboxes[id] = true
		return
	}
	n.put(id, name)
}

// Annotations with which containerd's CRI plugin, and nerdctl, tell the runtime what a container is for.
const (
	annotationContainer = "io.kubernetes.cri.container-name"
	annotationType      = "io.kubernetes.cri.container-type" // container or sandbox
	annotationPod       = "io.kubernetes.cri.sandbox-name"
	annotationNamespace = "io.kubernetes.cri.sandbox-namespace"
	annotationUID       = "io.kubernetes.cri.sandbox-uid"
	annotationNerdctl   = "nerdctl/name"
)

// readContainerd reads what containerd gave the runtime of each container that has no name, and of all where a pod has
// none.
func (f Files) readContainerd(wanted ids, out *names) {
	all := !out.named(wanted.pods)
	for _, root := range f.Containerd {
		for _, namespace := range list(root) {
			for id := range wanted.containers {
				if !all && (out.of[id] != "" || out.sandboxes[id]) {
					continue
				}
				var spec struct {
					Annotations map[string]string `json:"annotations"`
				}
				if readJSON(filepath.Join(root, namespace, id, "config.json"), &spec) != nil {
					continue
				}
				a := spec.Annotations
				out.put(id, a[annotationNerdctl])
				out.inPod(id, a[annotationContainer], a[annotationType] == "sandbox")
				if a[annotationPod] != "" {
					out.put(a[annotationUID], a[annotationNamespace]+"/"+a[annotationPod])
				}
			}
		}
	}
}

func readJSON(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return json.NewDecoder(io.LimitReader(f, namesMax)).Decode(v)
}
