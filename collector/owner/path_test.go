package owner

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/snatwatch/snatwatch/collector"
)

const (
	uid       = "0b6c7f5e-3f6e-4a0e-9d5c-1c2f3a4b5c6d"
	under     = "0b6c7f5e_3f6e_4a0e_9d5c_1c2f3a4b5c6d"
	staticUID = "6f1c2b3a4d5e6f708192a3b4c5d6e7f8"
	id1       = "46d1a5cdb06babccbf05ba3f0caee9aa432a22a2434e2bbfbae6af32e329bee6"
	id2       = "a47a87e762957e7ee13a8697419c92dbed7758f3d9800bdb02ebaef847e8bfae"
)

func pod(uid, container string) Identity {
	return Identity{Kind: collector.KindPod, ID: uid, Container: container}
}

func container(id string) Identity { return Identity{Kind: collector.KindContainer, ID: id} }
func unit(name string) Identity    { return Identity{Kind: collector.KindUnit, ID: name} }

// The paths that kubelet's two drivers, the runtimes and systemd make.
func TestParsePath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path string
		want       Identity
	}{
		{"root", "/", Identity{Kind: collector.KindUnknown}},
		{"root, from within a cgroup namespace", "/../..", Identity{Kind: collector.KindUnknown}},
		{"a pod, from within a cgroup namespace", "/../../kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id1 + ".scope", pod(uid, id1)},
		{"a slice, from within a cgroup namespace", "/../../../user.slice", unit("/user.slice")},
		{"systemd driver, containerd", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id1 + ".scope", pod(uid, id1)},
		{"systemd driver, CRI-O", "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + under + ".slice/crio-" + id1 + ".scope", pod(uid, id1)},
		{"systemd driver, CRI-O with a folder inside", "/kubepods.slice/kubepods-pod" + under + ".slice/crio-" + id1 + ".scope/container", pod(uid, id1)},
		{"systemd driver, Docker", "/kubepods.slice/kubepods-pod" + under + ".slice/docker-" + id1 + ".scope", pod(uid, id1)},
		{"systemd driver, guaranteed", "/kubepods.slice/kubepods-pod" + under + ".slice", pod(uid, "")},
		{"cgroupfs driver, containerd", "/kubepods/burstable/pod" + uid + "/" + id1, pod(uid, id1)},
		{"cgroupfs driver, CRI-O", "/kubepods/besteffort/pod" + uid + "/crio-" + id1, pod(uid, id1)},
		{"cgroupfs driver, pod itself", "/kubepods/pod" + uid, pod(uid, "")},
		{"containerd with systemd's path and the cgroupfs driver", "/system.slice/containerd.service/kubepods-burstable-pod" + under + ".slice:cri-containerd:" + id1, pod(uid, id1)},
		{"static pod", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + staticUID + ".slice/crio-" + id1 + ".scope", pod(staticUID, id1)},
		{"kind within Docker", "/docker/" + id2 + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod" + under + ".slice/cri-containerd-" + id1 + ".scope", pod(uid, id1)},
		{"kind's own services", "/docker/" + id2 + "/kubelet.slice/kubelet.service", container(id2)},
		{"monitor of CRI-O", "/kubepods.slice/kubepods-pod" + under + ".slice/crio-conmon-" + id1 + ".scope", pod(uid, "")},
		{"Docker with systemd", "/system.slice/docker-" + id1 + ".scope", container(id1)},
		{"Docker with cgroupfs", "/docker/" + id1, container(id1)},
		{"Docker within Docker", "/docker/" + id1 + "/docker/" + id2, container(id2)},
		{"Podman with systemd", "/machine.slice/libpod-" + id1 + ".scope/container", container(id1)},
		{"Podman with cgroupfs", "/libpod_parent/libpod-" + id1, container(id1)},
		{"Podman without root", "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + id1 + ".scope/container", container(id1)},
		{"Podman's monitor", "/machine.slice/libpod-conmon-" + id1 + ".scope", unit("libpod-conmon-" + id1 + ".scope")},
		{"containerd without Kubernetes", "/default/" + id1, container(id1)},
		{"systemd in a container", "/machine.slice/libpod-" + id1 + ".scope/container/system.slice/nginx.service", container(id1)},
		{"service", "/system.slice/nginx.service", unit("nginx.service")},
		{"template", "/system.slice/system-getty.slice/getty@tty1.service", unit("getty@tty1.service")},
		{"a service's own folder", "/system.slice/docker.service/runner", unit("docker.service")},
		{"session", "/user.slice/user-1000.slice/session-3.scope", unit("session-3.scope")},
		{"a user's service", "/user.slice/user-1000.slice/user@1000.service/app.slice/mail.service", unit("mail.service")},
		{"slice", "/system.slice", unit("/system.slice")},
		{"a folder of nobody known", "/custom/batch", unit("/custom/batch")},
		{"an ID too short", "/docker/46d1a5cdb06b", unit("/docker/46d1a5cdb06b")},
		{"an ID in capitals", "/docker/" + strings.ToUpper(id1), unit("/docker/" + strings.ToUpper(id1))},
		{"a UID with a digit that is none", "/kubepods/pod" + uid[:35] + "x", unit("/kubepods/pod" + uid[:35] + "x")},
		{"a slice that only sounds like a pod", "/web-pod" + under + ".slice", unit("/web-pod" + under + ".slice")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, ParsePath(tt.path)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.path, diff)
			}
		})
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add("/kubepods.slice/kubepods-pod" + under + ".slice/cri-containerd-" + id1 + ".scope")
	f.Add("/docker/" + id1)
	f.Add("//\x00/pod/.slice/-pod.slice/:")
	f.Fuzz(func(t *testing.T, path string) {
		id := ParsePath(path)
		if (id.Kind == collector.KindUnknown) != (id.ID == "") {
			t.Errorf("%q: %+v", path, id)
		}
		if id.Kind == collector.KindContainer && len(id.ID) != 64 || id.Kind == collector.KindPod && len(id.ID) != 36 && len(id.ID) != 32 {
			t.Errorf("%q: an ID of %d bytes", path, len(id.ID))
		}
	})
}

// The three layouts of cgroups as /proc/PID/cgroup shows them.
func TestParseProcCgroup(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		want       Identity
	}{
		{"v2", "0::/system.slice/nginx.service\n", unit("nginx.service")},
		{"v2 pod", "0::/kubepods/pod" + uid + "/" + id1 + "\n", pod(uid, id1)},
		{"hybrid, runtime in all trees", "3:memory:/docker/" + id1 + "\n1:name=systemd:/docker/" + id1 + "\n0::/docker/" + id1 + "\n", container(id1)},
		{"hybrid, runtime in the v1 trees alone", "3:memory:/docker/" + id1 + "\n1:name=systemd:/docker/" + id1 + "\n0::/system.slice/docker.service\n", container(id1)},
		{"hybrid, a unit", "3:memory:/user.slice\n1:name=systemd:/system.slice/nginx.service\n0::/system.slice/nginx.service\n", unit("nginx.service")},
		{"v1", "4:memory:/system.slice/nginx.service\n1:name=systemd:/system.slice/nginx.service\n", unit("nginx.service")},
		{"v1 without systemd", "4:memory:/jobs/nightly\n", Identity{Kind: collector.KindUnknown}},
		{"v1 pod", "11:pids:/kubepods/besteffort/pod" + uid + "/" + id1 + "\n1:name=systemd:/kubepods/besteffort/pod" + uid + "/" + id1 + "\n", pod(uid, id1)},
		{"outside of everything", "3:memory:/\n1:name=systemd:/\n0::/\n", Identity{Kind: collector.KindUnknown}},
		{"a colon in a name", "0::/kubepods/pod" + uid + "/a:b\n", pod(uid, "")},
		{"cut off", "0:", Identity{Kind: collector.KindUnknown}},
		{"nothing", "", Identity{Kind: collector.KindUnknown}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, ParseProcCgroup([]byte(tt.text))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAddressesOfProc(t *testing.T) {
	t.Parallel()
	trie := "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.77.1.0\n        /24 link UNICAST\n" +
		"     |-- 10.77.1.2\n        /32 host LOCAL\n     |-- 10.77.1.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n"
	want := []netip.Addr{netip.MustParseAddr("10.77.1.2")}
	if diff := cmp.Diff(want, parseFibTrie([]byte(trie)), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("IPv4 (-want +got):\n%s", diff)
	}
	six := "00000000000000000000000000000001 01 80 10 80       lo\nfe800000000000000000000000000001 02 40 20 80     eth0\n" +
		"20010db8000000000000000000000007 02 40 00 80     eth0\nshort\n"
	want = []netip.Addr{netip.MustParseAddr("2001:db8::7")}
	if diff := cmp.Diff(want, parseIfInet6([]byte(six)), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("IPv6 (-want +got):\n%s", diff)
	}
}

func TestUnifiedMounts(t *testing.T) {
	t.Parallel()
	text := "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
		"40 31 0:38 /payload /mnt/part rw,relatime shared:4 - cgroup2 cgroup2 rw\n" +
		"41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\nbroken\n"
	if diff := cmp.Diff([]string{"/sys/fs/cgroup/unified", "/mnt/part"}, unifiedMounts(strings.NewReader(text))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A container with a cgroup namespace: its own mount, the machine's, and one of the slice that it is in.
	text = "157 107 0:38 / /sys/fs/cgroup ro,relatime - cgroup2 cgroup rw\n" +
		"158 107 0:38 /../.. /host/cgroup rw,relatime - cgroup2 cgroup2 rw\n" +
		"159 107 0:38 /.. /host/slice rw,relatime - cgroup2 cgroup2 rw\n"
	if diff := cmp.Diff([]string{"/host/cgroup", "/host/slice", "/sys/fs/cgroup"}, unifiedMounts(strings.NewReader(text))); diff != "" {
		t.Errorf("in a container (-want +got):\n%s", diff)
	}
}
