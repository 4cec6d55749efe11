package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// requirePodman skips the test where it cannot make containers.
func requirePodman(t *testing.T) {
	t.Helper()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin, netns.SysPtrace)
	kerneltest.Program(t, "podman", "podman")
	kerneltest.Program(t, "runc", "runc")
}

// podman runs podman; it fails the test if podman fails.
func podman(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.Command("podman", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("podman %s: %v\n%s", args[0], err, out)
	}
}

// containerImage builds a program that needs no library, from a folder here, and an image of nothing else. It returns
// both.
func containerImage(t *testing.T, folder string) (image, program string) {
	t.Helper()
	dir := t.TempDir()
	program = filepath.Join(dir, "caller")
	build := exec.Command("go", "build", "-o", program, folder)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := "FROM scratch\nCOPY caller /caller\nENTRYPOINT [\"/caller\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "Containerfile"), []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	image = fmt.Sprintf("localhost/snatwatch-owners-%d", kerneltest.Unique())
	podman(t, "build", "-q", "-t", image, dir)
	t.Cleanup(func() { podman(t, "rmi", "-f", image) })
	return image, program
}

// runContainer runs a container of the image in the namespace of h until the test ends.
func runContainer(t *testing.T, image, name string, h *lab.Host, args ...string) {
	t.Helper()
	podman(t, append([]string{
		"--runtime", "runc", "run", "-d", "--name", name, "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024",
		"--network", "ns:" + h.Path(), image,
	}, args...)...)
	t.Cleanup(func() { podman(t, "rm", "-f", "-i", name) })
}

// inCgroup makes a cgroup in the kernel's v2 tree and returns what starts a process in it.
func inCgroup(t *testing.T, path ...string) *syscall.SysProcAttr {
	t.Helper()
	root := "/sys/fs/cgroup"
	var fs unix.Statfs_t
	if unix.Statfs(root, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		root += "/unified"
	}
	if unix.Statfs(root, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		kerneltest.Cannot(t, "no cgroup v2 tree is mounted")
	}
	dir := root
	for _, name := range append([]string{fmt.Sprintf("snatwatch-test-%d", kerneltest.Unique())}, path...) {
		dir = filepath.Join(dir, name)
		switch err := os.Mkdir(dir, 0o755); {
		case err == nil:
			t.Cleanup(func() { // the innermost first, once its processes are out of it
				for deadline := time.Now().Add(time.Minute); errors.Is(os.Remove(dir), unix.EBUSY) && time.Now().Before(deadline); {
					time.Sleep(10 * time.Millisecond)
				}
			})
		case !os.IsExist(err):
			t.Fatal(err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
}

// heldBy returns what /api/v1/snapshot says of the owners of the only port space with ports.
func (a *runningAgent) heldBy() (held int, owners map[string]int) {
	var snap struct {
		Budgets []struct {
			Protocols []struct {
				Spaces []struct {
					Held   int
					Owners []struct {
						Kind, Name, Container string
						Held                  int
					}
				}
			}
		}
	}
	owners = map[string]int{}
	if status, body := a.get(http.MethodGet, "/api/v1/snapshot"); status != http.StatusOK || json.Unmarshal([]byte(body), &snap) != nil {
		return 0, owners
	}
	for _, b := range snap.Budgets {
		for _, p := range b.Protocols {
			for _, s := range p.Spaces {
				held += s.Held
				for _, o := range s.Owners {
					if o.Held > 0 {
						owners[strings.TrimSuffix(o.Kind+" "+o.Name+" "+o.Container, " ")] += o.Held
					}
				}
			}
		}
	}
	return held, owners
}

// Two containers, a process of the machine itself, one in a unit's cgroup and one in a pod's each open a known number
// of flows through one VIP: metrics, API and page name every one of them with its number. Each keeps its ports after
// it is gone.
func TestKernelOwners(t *testing.T) {
	requirePodman(t)
	if !kerneltest.OwnProcesses(t) {
		return
	}
	ctx := t.Context()
	l, err := lab.New(ctx, lab.Topology{Nodes: 3, NAT: []lab.NAT{{VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: 2255}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := l.Server(0).At(9000)
	server, err := l.Server(0).Hold(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()

	call := func(n int) []string {
		return []string{"verify", "--target", to.String(), fmt.Sprintf("--limit=%d", n), "--hold=1h", "--ports=256"}
	}
	image, _ := containerImage(t, ".")
	first, second := fmt.Sprintf("checkout-%d", kerneltest.Unique()), fmt.Sprintf("fetcher-%d", kerneltest.Unique())
	runContainer(t, image, first, l.Node(0), call(40)...)
	runContainer(t, image, second, l.Node(1), call(25)...)
	const uid = "0b6c7f5e-3f6e-4a0e-9d5c-1c2f3a4b5c6d"
	startProgram(t, l.Router(), nil, call(7)...)
	startProgram(t, l.Router(), inCgroup(t, "system.slice", "batch.service"), call(11)...)
	startProgram(t, l.Router(), inCgroup(t, "kubepods.slice", "kubepods-burstable.slice",
		"kubepods-burstable-pod"+strings.ReplaceAll(uid, "-", "_")+".slice", "cri-containerd-"+strings.Repeat("6f", 32)+".scope"), call(5)...)

	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	writeConfig(t, config, "2000-2255")
	a := startAgent(t, "--config", config, "--netns", l.Router().Path(), "--poll-interval=500ms", "--strategy=poll", "--cpu-budget=1")
	want := map[string]int{"container " + first: 40, "container " + second: 25, "process exe": 7, "unit batch.service": 11, "pod " + uid + " 6f6f6f6f6f6f": 5}
	var held int
	var got map[string]int
	a.eventually("every owner has its ports", func() bool {
		held, got = a.heldBy()
		return held == 88 && cmp.Equal(want, got)
	})
	space := fmt.Sprintf(`{budget="lab",destination="%s",gateway="",owner=%%q,owner_container=%%q,owner_kind=%%q,protocol="tcp",vip=""}`, to)
	for owner, n := range want {
		part := append(strings.Split(owner, " "), "")
		if v := a.value("snat_owner_ports_held" + fmt.Sprintf(space, part[1], part[2], part[0])); v != float64(n) {
			t.Errorf("%s holds %v ports by the metric, want %d", owner, v, n)
		}
	}
	_, page := a.get(http.MethodGet, "/")
	for _, want := range []string{first + " (container) <b>40</b>, 45 %", second + " (container) <b>25</b>, 28 %", "batch.service (unit) <b>11</b>, 12 %"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}

	podman(t, "rm", "-f", "-t", "0", first)
	a.eventually("the first container's ports cool down", func() bool {
		held, got = a.heldBy()
		return a.value(fmt.Sprintf(`snat_ports_live{budget="lab",destination="%s",gateway="",protocol="tcp",vip=""}`, to)) == 48
	})
	sum := 0
	for _, n := range got {
		sum += n
	}
	if _, got = a.heldBy(); sum != held || got["client 10.0.0.2"]+got["unknown unknown"]+got["other other"] > 0 {
		t.Errorf("%d ports held, by %v", held, got)
	}

	// A namespace comes later. Its flows have no owner until the agent has seen the namespace; they are never counted for
	// a client, so each counts once.
	startProgram(t, l.Node(2), inCgroup(t, "system.slice", "late.service"), call(13)...)
	a.eventually("a namespace that came later has its ports", func() bool {
		_, got = a.heldBy()
		return got["unit late.service"] == 13
	})
	if n := a.value(`snat_owner_flows_opened_total{budget="lab",owner="late.service",owner_kind="unit",protocol="tcp"}`); n != 13 {
		t.Errorf("late.service opened %v flows, want 13", n)
	}
	if _, all := a.get(http.MethodGet, "/metrics"); strings.Contains(all, `owner_kind="client"`) {
		t.Error("flows of this machine's own namespaces are a client's")
	}
}

// holdingLab is a lab of so many nodes behind one VIP that has the ports from 2000 to last. A server holds every flow
// that is opened to the address returned.
func holdingLab(t *testing.T, nodes int, last uint16) (l *lab.Lab, to netip.AddrPort) {
	t.Helper()
	l, err := lab.New(t.Context(), lab.Topology{
		Nodes: nodes, NAT: []lab.NAT{{VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: last}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	to = l.Server(0).At(9000)
	server, err := l.Server(0).Hold(context.Background(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return l, to
}

// routerAgent starts an agent that watches a lab's router, whose VIP has those ports.
func routerAgent(t *testing.T, l *lab.Lab, ports string) *runningAgent {
	t.Helper()
	config := filepath.Join(t.TempDir(), "snatwatch.yaml")
	writeConfig(t, config, ports)
	return startAgent(t, "--config", config, "--netns", l.Router().Path(), "--poll-interval=500ms", "--strategy=poll", "--cpu-budget=1")
}
