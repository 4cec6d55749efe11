package owner

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
)

// digits makes the ID of a container.
func digits(two string) string { return strings.Repeat(two, 32) }

// fileTree writes files below a folder of its own and returns where names are looked for in it.
func fileTree(t *testing.T, files map[string]string) Files {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Files{
		PodLogs: filepath.Join(dir, "pods"), ContainerLogs: filepath.Join(dir, "containers"), Storage: filepath.Join(dir, "storage"),
		Docker: filepath.Join(dir, "docker"), Containerd: []string{filepath.Join(dir, "none"), filepath.Join(dir, "containerd")},
	}
}

// Each runtime keeps names in files of its own; the kubelet's are there whatever the runtime.
func TestFilesRead(t *testing.T) {
	t.Parallel()
	const checkout, proxy = "payments/checkout-7d9f", "kube-system/proxy-n1"
	api, mesh, pause := digits("a1"), digits("b2"), digits("c3")
	for _, tt := range []struct {
		name      string
		files     map[string]string
		want      map[string]string
		sandboxes map[string]bool
	}{
		{"nothing", nil, map[string]string{}, nil},
		{
			"kubelet",
			map[string]string{
				"pods/payments_checkout-7d9f_" + uid + "/api/0.log": "", "pods/kube-system_proxy-n1_" + staticUID + "/0.log": "", "pods/lost+found/x": "",
				"containers/checkout-7d9f_payments_api-" + api + ".log": "", "containers/checkout-7d9f_payments_istio-proxy-" + mesh + ".log": "",
				"containers/" + strings.Repeat("n", 120) + "_payments_api-" + pause[:20] + ".log": "", "containers/x_y_-" + pause + ".log": "", "containers/README": "",
			},
			map[string]string{uid: checkout, staticUID: proxy, api: "api", mesh: "istio-proxy"},
			nil,
		},
		{
			"containerd",
			map[string]string{
				"containerd/k8s.io/" + api + "/config.json": `{"annotations":{"io.kubernetes.cri.container-name":"api","io.kubernetes.cri.container-type":"container",` +
					`"io.kubernetes.cri.sandbox-name":"checkout-7d9f","io.kubernetes.cri.sandbox-namespace":"payments","io.kubernetes.cri.sandbox-uid":"` + uid + `"}}`,
				"containerd/k8s.io/" + pause + "/config.json":  `{"annotations":{"io.kubernetes.cri.container-type":"sandbox"}}`,
				"containerd/default/" + mesh + "/config.json":  `{"annotations":{"nerdctl/name":"web"}}`,
				"containerd/default/" + api + "x/config.json":  `{"annotations":{"nerdctl/name":"nobody"}}`,
				"containerd/broken/" + api + "/config.json":    `{"annotations":[`,
				"containerd/k8s.io/" + digits("d4") + "/x.txt": ``,
			},
			map[string]string{uid: checkout, api: "api", mesh: "web"},
			map[string]bool{pause: true},
		},
		{
			"CRI-O",
			map[string]string{
				"storage/overlay-containers/containers.json": `[{"id":"` + pause + `","names":["k8s_POD_checkout-7d9f_payments_` + uid + `_0","k8s_checkout-7d9f_payments_` + uid + `_0"]},` +
					`{"id":"` + api + `","names":["k8s_api_checkout-7d9f_payments_` + uid + `_3"]},{"id":"nameless"}]`,
			},
			map[string]string{uid: checkout, api: "api"},
			map[string]bool{pause: true},
		},
		{
			"Podman, one that vanishes with its end and another driver",
			map[string]string{
				"storage/overlay-containers/containers.json":          `[{"id":"` + api + `","names":["fetcher","alias"]}]`,
				"storage/overlay-containers/volatile-containers.json": `[{"id":"` + mesh + `","names":["batch_job_k8s"]}]`,
				"storage/vfs-containers/containers.json":              `[{"id":"` + pause + `","names":["old"]}]`,
				"storage/overlay-layers/layers.json":                  `[{"id":"` + id1 + `","names":["no container"]}]`,
			},
			map[string]string{api: "fetcher", mesh: "batch_job_k8s", pause: "old"},
			nil,
		},
		{"cut off", map[string]string{"storage/overlay-containers/containers.json": `[{"id":"` + api + `","na`}, map[string]string{}, nil},
		{
			"Docker, alone and below Kubernetes",
			map[string]string{
				"docker/" + mesh + "/config.v2.json":  `{"State":{},"Name":"/web"}`,
				"docker/" + api + "/config.v2.json":   `{"Name":"/k8s_api_checkout-7d9f_payments_` + uid + `_0"}`,
				"docker/" + pause + "/config.v2.json": `{"Name":"/k8s_POD_checkout-7d9f_payments_` + uid + `_0"}`,
			},
			map[string]string{uid: checkout, api: "api", mesh: "web"},
			map[string]bool{pause: true},
		},
		{
			"a user's names that look like those below Kubernetes",
			map[string]string{
				"docker/" + api + "/config.v2.json":      `{"Name":"/k8s_api_checkout_shop_blue_0"}`,
				"storage/vfs-containers/containers.json": `[{"id":"` + mesh + `","names":["k8s_POD_a_b_c_0"]}]`,
			},
			map[string]string{api: "k8s_api_checkout_shop_blue_0", mesh: "k8s_POD_a_b_c_0"},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := fileTree(t, tt.files)
			got := f.read(ids{map[string]bool{uid: true, staticUID: true}, map[string]bool{api: true, mesh: true, pause: true}})
			if tt.sandboxes == nil {
				tt.sandboxes = map[string]bool{}
			}
			if diff := cmp.Diff(tt.want, got.of); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.sandboxes, got.sandboxes); diff != "" {
				t.Errorf("sandboxes (-want +got):\n%s", diff)
			}
		})
	}
}

// What has no name is shown by its ID.
func TestName(t *testing.T) {
	t.Parallel()
	view := &View{Names: map[string]string{uid: "payments/checkout-7d9f", id1: "api"}}
	named := func(kind collector.OwnerKind, name, container string) collector.Owner {
		return collector.Owner{Kind: kind, Name: name, Container: container}
	}
	for id, want := range map[Identity]collector.Owner{
		pod(uid, ""):                  named("pod", "payments/checkout-7d9f", ""),
		pod(uid, id1):                 named("pod", "payments/checkout-7d9f", "api"),
		pod(staticUID, id2):           named("pod", staticUID, "a47a87e76295"),
		container(id1):                named("container", "api", ""),
		container("46d1a5cdb06babc0"): named("container", "46d1a5cdb06b", ""),
		unit("a.service"):             named("unit", "a.service", ""),
		{}:                            named("unknown", "unknown", ""),
		{Kind: collector.KindOther}:   named("other", "other", ""),
	} {
		if diff := cmp.Diff(want, view.Name(id)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", id, diff)
		}
	}
}

// A namespace is its pod's; the container is known where one alone of the pod's opens flows in it.
func TestWhose(t *testing.T) {
	t.Parallel()
	api, mesh, pause, other := digits("a1"), digits("b2"), digits("c3"), digits("d4")
	unknown := Identity{Kind: collector.KindUnknown}
	for _, tt := range []struct {
		name    string
		ids     []Identity
		want    Identity
		several bool
	}{
		{"no process", nil, unknown, false},
		{"one container", []Identity{container(api)}, container(api), false},
		{"two containers", []Identity{container(api), container(mesh)}, unknown, true},
		{"a pod with one container", []Identity{pod(uid, pause), pod(uid, api)}, pod(uid, api), false},
		{"a pod with two", []Identity{pod(uid, api), pod(uid, mesh), pod(uid, pause)}, pod(uid, ""), true},
		{"a pod whose container has ended", []Identity{pod(uid, pause)}, pod(uid, ""), false},
		{"a pod whose pause has no sign but its name", []Identity{pod(uid, digits("e5")), pod(uid, api)}, pod(uid, api), false},
		{"a pod in which nothing has a name", []Identity{pod(uid, digits("e5")), pod(uid, other)}, pod(uid, ""), true},
		{"a process outside of the containers", []Identity{pod(uid, api), pod(uid, "")}, pod(uid, ""), true},
		{"two pods", []Identity{pod(uid, api), pod(staticUID, mesh)}, unknown, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := &Watcher{
				names:  names{map[string]string{api: "api", mesh: "istio-proxy"}, map[string]bool{pause: true}},
				pauses: map[string]bool{digits("e5"): true, other: false},
			}
			got, several := w.whose(&namespace{ids: tt.ids})
			if diff := cmp.Diff(tt.want, got); diff != "" || several != tt.several {
				t.Errorf("several %v, want %v (-want +got):\n%s", several, tt.several, diff)
			}
		})
	}
}

// The name of a container outlives it, as its ports do: also where no look at the cgroups showed it while it ran.
func TestNamesOutliveContainers(t *testing.T) {
	t.Parallel()
	outer, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outer.Close() })
	short, next := digits("a1"), digits("b2")
	file := "storage/vfs-containers/volatile-containers.json"
	files := fileTree(t, map[string]string{file: `[{"id":"` + short + `","names":["job"]}]`})
	w, start := New(Config{Outer: outer, Files: files}), time.Now()
	w.processes[1] = &process{id: container(short)}
	w.readNames(start, false)
	delete(w.processes, 1)
	w.processes[2] = &process{id: container(next)}
	if err := os.WriteFile(filepath.Join(files.Storage, "vfs-containers", filepath.Base(file)), []byte(`[{"id":"`+next+`","names":["web"]}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after time.Duration
		want  map[string]string
	}{
		{time.Minute, map[string]string{short: "job", next: "web"}},
		{goneFor + time.Second, map[string]string{next: "web"}},
	} {
		if w.readNames(start.Add(tt.after), true); !cmp.Equal(w.names.of, tt.want) {
			t.Errorf("after %v: %v, want %v", tt.after, w.names.of, tt.want)
		}
	}
}
