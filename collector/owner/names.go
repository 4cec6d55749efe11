package owner

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/snatwatch/snatwatch/collector"
)

// Files are where names of pods and containers stand. The zero value is where the kubelet, Podman and Docker keep
// them. All are read and none is needed: an owner without a name is shown by its ID.
type Files struct {
	// PodLogs has a folder namespace_name_uid for each pod of the kubelet; default /var/log/pods.
	PodLogs string
	// Podman is the list of containers of Podman; default
	// /var/lib/containers/storage/overlay-containers/containers.json. It takes root to read.
	Podman string
	// Docker has a folder for each container of Docker; default /var/lib/docker/containers. It takes root to read.
	Docker string
}

func (f Files) withDefaults() Files {
	set := func(s *string, path string) {
		if *s == "" {
			*s = path
		}
	}
	set(&f.PodLogs, "/var/log/pods")
	set(&f.Podman, "/var/lib/containers/storage/overlay-containers/containers.json")
	set(&f.Docker, "/var/lib/docker/containers")
	return f
}

// namesMax bounds what is read of one file.
const namesMax = 16 << 20

// readNames returns the names of the pods and containers that wanted has, by ID, as far as the files tell.
func (f Files) readNames(wanted map[Identity]bool) map[string]string {
	out := map[string]string{}
	pods, containers := false, false
	for id := range wanted {
		pods = pods || id.Kind == collector.KindPod
		containers = containers || id.Kind == collector.KindContainer
	}
	if pods {
		f.pods(out)
	}
	if containers {
		f.podman(out)
		f.docker(wanted, out)
	}
	return out
}

// pods reads the names of the kubelet's log folders. The UID in them is the one in the cgroup, for static pods too.
func (f Files) pods(out map[string]string) {
	d, err := os.Open(f.PodLogs)
	if err != nil {
		return
	}
	defer func() { _ = d.Close() }()
	names, _ := d.Readdirnames(-1) // what came before an error is good
	for _, name := range names {
		// Neither a namespace nor a pod's name may have an underscore.
		if part := strings.Split(name, "_"); len(part) == 3 {
			out[part[2]] = part[0] + "/" + part[1]
		}
	}
}

func (f Files) podman(out map[string]string) {
	var list []struct {
		ID    string   `json:"id"`
		Names []string `json:"names"`
	}
	if readJSON(f.Podman, &list) != nil {
		return
	}
	for _, c := range list {
		if len(c.Names) > 0 {
			out[c.ID] = c.Names[0]
		}
	}
}

func (f Files) docker(wanted map[Identity]bool, out map[string]string) {
	for id := range wanted {
		if id.Kind != collector.KindContainer || out[id.ID] != "" {
			continue
		}
		var c struct{ Name string }
		if readJSON(filepath.Join(f.Docker, id.ID, "config.v2.json"), &c) == nil && c.Name != "" {
			out[id.ID] = strings.TrimPrefix(c.Name, "/")
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
