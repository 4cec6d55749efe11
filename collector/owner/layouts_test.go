package owner

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/collector/sockdiag"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// openEnv makes the test program a workload: "REMOTE COUNT", the sockets that it opens.
const openEnv = "OWNER_TEST_OPEN"

func TestMain(m *testing.M) {
	if kerneltest.Hold() {
		return
	}
	if job := os.Getenv(openEnv); job != "" {
		if err := open(job); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// open opens connected UDP sockets, which need no server, and keeps them until its standard input ends.
func open(job string) error {
	remote, count, _ := strings.Cut(job, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	to, err := netip.ParseAddr(remote)
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: uint64(n + 100), Max: uint64(n + 100)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for i := range n {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 53 + i%1000, Addr: to.As4()}); err != nil {
			return err
		}
	}
	fmt.Println("open")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// hosts counts the namespaces that tests made: each has addresses of its own.
var hosts atomic.Int32

// newHost makes a namespace with an address, and returns another one to which flows can go from it.
func newHost(t testing.TB) (h *netns.Handle, to netip.Addr) {
	t.Helper()
	h = kerneltest.Netns(t)
	n := byte(hosts.Add(1))
	kerneltest.Command(t, h, "ip", "link", "add", "d0", "type", "veth", "peer", "name", "d1")
	kerneltest.Command(t, h, "ip", "address", "add", fmt.Sprintf("10.79.%d.1/24", n), "dev", "d0")
	kerneltest.Command(t, h, "ip", "link", "set", "d0", "up")
	return h, netip.AddrFrom4([4]byte{10, 79, n, 2})
}

// tree returns where the cgroup v2 tree is mounted.
func tree(t testing.TB) string {
	t.Helper()
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	mounts := unifiedMounts(f)
	if len(mounts) == 0 {
		kerneltest.Cannot(t, "no cgroup v2 tree is mounted")
	}
	return mounts[0]
}

// treeV1 mounts a v1 tree without controllers, as systemd's own is.
func treeV1(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "cgroup", 0, fmt.Sprintf("none,name=snatwatch-test-%d", os.Getpid())); err != nil {
		kerneltest.Lacks(t, "cgroup-v1", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// cgroup makes a cgroup below root, in a folder of this test's own, which the end of the test removes.
func cgroup(t testing.TB, root, path string) (dir string) {
	t.Helper()
	dir = root
	for _, name := range append([]string{fmt.Sprintf("snatwatch-test-%d-%d", os.Getpid(), hosts.Load())}, strings.Split(path, "/")...) {
		dir = filepath.Join(dir, name)
		switch err := os.Mkdir(dir, 0o755); {
		case err == nil:
			t.Cleanup(func() { removeCgroup(t, dir) }) // the innermost first
		case !os.IsExist(err):
			t.Fatal(err)
		}
	}
	return dir
}

// removeCgroup removes a cgroup whose processes have ended. The kernel may take them out of it a moment later.
func removeCgroup(t testing.TB, dir string) {
	err := os.Remove(dir)
	for deadline := time.Now().Add(time.Minute); errors.Is(err, unix.EBUSY) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		err = os.Remove(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// workload is one process of a layout.
type workload struct {
	group   string // its path in the v2 tree; "/" is the root
	groupV1 string // its path in a v1 tree, if it is in one
	host    int    // number of its namespace; 0 is the one that flows leave from
	flows   int
}

// start runs a workload in namespace h until the test ends, and waits for its flows.
func (l workload) start(t testing.TB, h *netns.Handle, to netip.Addr, v2, v1 string) {
	t.Helper()
	path := v2
	if l.group != "/" {
		path = cgroup(t, v2, l.group)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dir.Close() }()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d", openEnv, to, l.flows))
	cmd.SysProcAttr = &unix.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	inV1 := ""
	if l.groupV1 != "" {
		inV1 = cgroup(t, v1, l.groupV1)
	}
	if err := h.Do(cmd.Start); err != nil { // the child inherits the namespace of the thread that forks
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	if inV1 != "" {
		if err := os.WriteFile(filepath.Join(inV1, "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("a workload says %q", line)
	}
}

// count returns by name how many flows of namespace h are whose: of its sockets, and of the same flows as conntrack
// shows them.
func count(t testing.TB, w *Watcher, table *Table, h *netns.Handle) (sockets, conntrack map[string]int) {
	t.Helper()
	sockets, conntrack = map[string]int{}, map[string]int{}
	add := func(to map[string]int, events []collector.Event) {
		for i := range events {
			if events[i].Kind != collector.Seen {
				continue
			}
			o := w.View().Name(table.Identity(events[i].Flow.Owner))
			name := string(o.Kind) + " " + o.Name
			if o.Container != "" {
				name += " " + o.Container
			}
			to[name]++
		}
	}
	err := sockdiag.Dump(t.Context(), h, collector.Clock(), func(_ context.Context, events []collector.Event) error {
		table.Attribute(events, true)
		add(sockets, events)
		for i := range events {
			f := &events[i].Flow
			f.Netns, f.Cgroup, f.Inode, f.Owner = table.outer, 0, 0, collector.OwnerUnknown
		}
		table.Attribute(events, false)
		add(conntrack, events)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sockets, conntrack
}

// In every layout of cgroups each workload's flows are its own: by its sockets and by its address. The trees are the
// kernel's, the processes and their sockets real; only the kubelet and the runtimes, which would have made the same
// folders, are not there.
func TestKernelLayouts(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin, netns.SysPtrace)
	api, mesh, pause := digits("a1"), digits("b2"), digits("c3")
	named := fileTree(t, map[string]string{
		"pods/payments_checkout-7d9f_" + uid + "/api/0.log": "", "pods/kube-system_proxy-n1_" + staticUID + "/0.log": "",
		"containers/checkout-7d9f_payments_api-" + api + ".log": "", "containers/checkout-7d9f_payments_mesh-" + mesh + ".log": "",
		"storage/overlay-containers/containers.json": `[{"id":"` + id1 + `","names":["fetcher"]},{"id":"` + id2 + `","names":["web"]}]`,
		"docker/" + pause + "/config.v2.json":        `{"Name":"/k8s_POD_checkout-7d9f_payments_` + uid + `_0"}`,
	})
	const checkoutAPI, checkoutMesh, proxy = "pod payments/checkout-7d9f api", "pod payments/checkout-7d9f mesh", "pod kube-system/proxy-n1 fetcher"
	burstable := "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + under + ".slice/"
	static := "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + staticUID + ".slice/"
	for _, tt := range []struct {
		name      string
		workloads []workload
		v1only    bool
		want      map[string]int
	}{
		{
			"kubelet with the systemd driver, containerd", []workload{
				{burstable + "cri-containerd-" + api + ".scope", "", 1, 7},
				{burstable + "cri-containerd-" + pause + ".scope", "", 1, 0},
				{static + "cri-containerd-" + id1 + ".scope", "", 0, 5},
				{"system.slice/kubelet.service", "", 0, 3},
			}, false, map[string]int{checkoutAPI: 7, proxy: 5, "unit kubelet.service": 3},
		},
		{
			"kubelet with the systemd driver, CRI-O, a pod of two containers", []workload{
				{burstable + "crio-" + api + ".scope/container", "", 1, 7},
				{burstable + "crio-" + mesh + ".scope", "", 1, 4},
				{burstable + "crio-" + pause + ".scope", "", 1, 0},
				{burstable + "crio-conmon-" + api + ".scope", "", 0, 1},
				{static + "crio-" + id1 + ".scope", "", 0, 5},
			}, false, map[string]int{checkoutAPI: 7, checkoutMesh: 4, "pod payments/checkout-7d9f": 1, proxy: 5},
		},
		{
			"kubelet with the cgroupfs driver, containerd", []workload{
				{"kubepods/burstable/pod" + uid + "/" + api, "", 1, 7},
				{"kubepods/burstable/pod" + uid + "/" + mesh, "", 1, 4},
				{"kubepods/besteffort/pod" + staticUID + "/" + id1, "", 0, 5},
			}, false, map[string]int{checkoutAPI: 7, checkoutMesh: 4, proxy: 5},
		},
		{
			"kubelet with the cgroupfs driver, CRI-O", []workload{
				{"kubepods/pod" + uid + "/crio-" + api, "", 1, 7}, {"kubepods/besteffort/pod" + staticUID + "/crio-" + id1, "", 0, 5},
			}, false, map[string]int{checkoutAPI: 7, proxy: 5},
		},
		{
			"Docker with systemd and with cgroupfs", []workload{
				{"system.slice/docker-" + id1 + ".scope", "", 1, 7}, {"docker/" + id2, "", 2, 5}, {"system.slice/docker.service", "", 0, 3},
			}, false, map[string]int{"container fetcher": 7, "container web": 5, "unit docker.service": 3},
		},
		{
			"Podman, two containers that share a namespace, and one of a user", []workload{
				{"machine.slice/libpod-" + id1 + ".scope/container", "", 1, 7},
				{"libpod_parent/libpod-" + id2, "", 1, 5},
				{"user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + digits("d4") + ".scope/container", "", 2, 2},
			}, false, map[string]int{"container fetcher": 7, "container web": 5, "container d4d4d4d4d4d4": 2},
		},
		{
			"kind: a cluster within Docker", []workload{
				{"docker/" + id2 + "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + under + ".slice/cri-containerd-" + api + ".scope", "", 1, 7},
				{"docker/" + id2 + "/kubelet.slice/kubelet.service", "", 2, 5},
			}, false, map[string]int{checkoutAPI: 7, "container web": 5},
		},
		{
			"units, a slice and a process in none", []workload{
				{"system.slice/nginx.service", "", 0, 7}, {"user.slice/user-1000.slice/session-3.scope", "", 0, 5}, {"/", "", 0, 3},
			}, false, map[string]int{"unit nginx.service": 7, "unit session-3.scope": 5, "process exe": 3},
		},
		{
			"hybrid, containers in the v1 trees alone", []workload{
				{"/", "docker/" + id1, 1, 7},
				{"system.slice/containerd.service", "kubepods/pod" + uid + "/" + api, 2, 5},
				{"system.slice/docker.service", "docker/" + id2, 0, 4},
				{"system.slice/docker.service", "", 0, 3},
				{"/", "", 0, 2},
			}, false, map[string]int{"container fetcher": 7, checkoutAPI: 5, "container web": 4, "unit docker.service": 3, "process exe": 2},
		},
		{
			"v1 alone", []workload{
				{"/", "kubepods/burstable/pod" + uid + "/" + api, 1, 7},
				{"/", "kubepods/besteffort/pod" + staticUID + "/" + id1, 0, 5},
				{"/", "docker/" + id2, 2, 4},
				{"/", "", 0, 3},
			}, true, map[string]int{checkoutAPI: 7, proxy: 5, "container web": 4, "process exe": 3},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v2, v1 := tree(t), ""
			var namespaces []*netns.Handle
			var targets []netip.Addr
			for _, l := range tt.workloads {
				for len(namespaces) <= l.host || len(namespaces) == 0 {
					h, to := newHost(t)
					namespaces, targets = append(namespaces, h), append(targets, to)
				}
				if l.groupV1 != "" && v1 == "" {
					v1 = treeV1(t)
				}
			}
			for _, l := range tt.workloads {
				l.start(t, namespaces[l.host], targets[l.host], v2, v1)
			}
			w := New(Config{Outer: namespaces[0], Files: named})
			if tt.v1only {
				w.cfg.Tree = ""
			}
			table := NewTable(w)
			var bySocket, byAddress map[string]int
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
				w.Look(t.Context())
				bySocket, byAddress = map[string]int{}, map[string]int{}
				for _, h := range namespaces {
					sockets, conntrack := count(t, w, table, h)
					for name, n := range sockets {
						bySocket[name] += n
					}
					for name, n := range conntrack {
						byAddress[name] += n
					}
				}
				if maps.Equal(bySocket, tt.want) && maps.Equal(byAddress, tt.want) {
					return
				}
			}
			t.Errorf("by sockets (-want +got):\n%s", cmp.Diff(tt.want, bySocket))
			t.Errorf("by address (-want +got):\n%s", cmp.Diff(tt.want, byAddress))
		})
	}
}
