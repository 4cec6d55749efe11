package confine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// asChild makes the test binary confine itself and say what it can do then.
const asChild = "SNATWATCH_TEST_CONFINED"

// asFiltered makes the child filter its system calls before.
const asFiltered = "SNATWATCH_TEST_FILTERED"

func TestMain(m *testing.M) {
	if folder := os.Getenv(asChild); folder != "" {
		child(folder)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// report is what a child says.
type report struct {
	User, Group      int
	Kept             []string
	Err              string
	Capabilities     netns.Capabilities
	Status           map[string]string
	Refused, Allowed []string // what it tried
}

// child gives up what an agent does that writes to the folders that are the arguments, and tries out the rest. What is in
// folder belongs to root.
func child(folder string) {
	writes := os.Args[1:]
	var r report
	if os.Getenv(asFiltered) != "" {
		if _, err := deny(true); err != nil {
			r.Err = err.Error()
		}
	}
	var err error
	if r.Kept, err = Process(writes); err != nil {
		r.Err += err.Error()
	}
	r.User, r.Group, r.Status = os.Getuid(), os.Getgid(), map[string]string{}
	r.Capabilities, _ = netns.Effective()
	status, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(status)) {
		switch key, value, _ := strings.Cut(line, ":"); key {
		case "NoNewPrivs", "Seccomp", "Seccomp_filters":
			r.Status[key] = strings.TrimSpace(value)
		}
	}
	create := func(folder string) func() error {
		return func() error {
			name := filepath.Join(folder, fmt.Sprint(os.Getpid()))
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if err != nil {
				return err
			}
			return errors.Join(f.Close(), os.Rename(name, name+".new"), os.Remove(name+".new"))
		}
	}
	enter := func(kind string, flags int) func() error {
		return func() error {
			f, err := os.Open("/proc/self/ns/" + kind)
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			return unix.Setns(int(f.Fd()), flags)
		}
	}
	tries := []struct {
		name string
		do   func() error
	}{
		{"read what belongs to root", func() error { _, err := os.ReadFile(filepath.Join(folder, "secret")); return err }},
		{"create a file elsewhere", create(folder)},
		{"read the namespace of another process", func() error { _, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", os.Getppid())); return err }},
		{"enter a network namespace", enter("net", unix.CLONE_NEWNET)},
		{"enter a namespace of any kind", enter("net", 0)},
		{"enter a mount namespace", enter("mnt", unix.CLONE_NEWNS)},
		{"unshare", func() error { return unix.Unshare(unix.CLONE_FS) }},
		{"start a program", func() error { return exec.Command("/proc/self/exe").Run() }},
		{"exec", func() error { return unix.Exec("/bin/true", []string{"true"}, nil) }},
		{"mount", func() error { return unix.Mount("none", "/proc", "proc", 0, "") }},
		{"trace", func() error { return unix.PtraceAttach(os.Getppid()) }},
		{"become root", func() error { return unix.Setuid(0) }},
		{"open a netlink socket", func() error {
			s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
			if err != nil {
				return err
			}
			return unix.Close(s)
		}},
	}
	for i, w := range writes {
		tries = append(tries, struct {
			name string
			do   func() error
		}{fmt.Sprint("create a file in ", i), create(w)})
	}
	for _, try := range tries {
		errs := make(chan error)
		for range 2 { // each on a thread of its own, as most of the agent's are
			go func() {
				runtime.LockOSThread()
				errs <- try.do()
			}()
			err = <-errs
			if err != nil {
				break
			}
		}
		if err != nil {
			r.Refused = append(r.Refused, try.name)
		} else {
			r.Allowed = append(r.Allowed, try.name)
		}
	}
	_ = json.NewEncoder(os.Stdout).Encode(r)
}

// The process has what it needs in the end, and nothing else, on every thread.
func TestKernelProcess(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin, netns.SysPtrace, netns.DACReadSearch)
	if os.Geteuid() != 0 {
		kerneltest.Cannot(t, "only root can become somebody else")
	}
	have, err := netns.Effective()
	if err != nil {
		t.Fatal(err)
	}
	const other = 4242
	folder := func(owner, group int) string {
		d := t.TempDir()
		if err := os.Chown(d, owner, group); err != nil {
			t.Fatal(err)
		}
		return d
	}
	roots := t.TempDir()
	if err := os.WriteFile(filepath.Join(roots, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	confined := map[string]string{"NoNewPrivs": "1", "Seccomp": "2", "Seccomp_filters": "1"}
	never := []string{
		"enter a namespace of any kind", "enter a mount namespace", "unshare", "start a program", "exec", "mount", "trace",
		"become root",
	}
	const read, create, see, enter, netlink = "read what belongs to root", "create a file elsewhere",
		"read the namespace of another process", "enter a network namespace", "open a netlink socket"
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	without := func(c string) []string {
		return []string{kerneltest.Program(t, "setpriv", "util-linux"), "--bounding-set", "-" + c, "--inh-caps", "-" + c}
	}
	for _, tt := range []struct {
		name   string
		attr   syscall.SysProcAttr
		by     []string // what starts it
		filter bool     // the child is filtered before
		writes []string
		want   report
	}{
		{
			"root that writes nothing",
			syscall.SysProcAttr{},
			nil, false, nil,
			report{
				User: stranger, Group: stranger, Capabilities: have & Needed(), Refused: append([]string{create}, never...),
				Allowed: []string{read, see, enter, netlink},
			},
		},
		{
			"root that writes to a folder of another user",
			syscall.SysProcAttr{},
			nil, false,
			[]string{folder(other, other)},
			report{
				User: other, Group: other, Capabilities: have & Needed(), Refused: append([]string{create}, never...),
				Allowed: []string{read, see, enter, netlink, "create a file in 0"},
			},
		},
		{
			"root that writes to folders of another user in root's group",
			syscall.SysProcAttr{},
			nil, false,
			[]string{folder(other, 0), folder(other, 0) + "/new"},
			report{
				User: other, Group: stranger, Capabilities: have & Needed(), Refused: append([]string{create, "create a file in 1"}, never...),
				Allowed: []string{read, see, enter, netlink, "create a file in 0"},
			},
		},
		{
			"root that writes to folders of its own",
			syscall.SysProcAttr{},
			nil, false,
			[]string{roots},
			report{
				Kept:         []string{"the agent stays root: " + roots + " belongs to root: give it to another user, and the agent becomes that user"},
				Capabilities: have & Needed(),
				Refused:      never, Allowed: []string{read, create, see, enter, netlink, "create a file in 0"},
			},
		},
		{
			"root that could not read what belongs to root",
			syscall.SysProcAttr{},
			without("dac_read_search"), false, nil,
			report{
				Kept:         []string{"the agent stays root: without CAP_DAC_READ_SEARCH only root reads what belongs to root"},
				Capabilities: have & Needed().Without(netns.Capabilities(0).With(netns.DACReadSearch)),
				Refused:      append([]string{create}, never...), Allowed: []string{read, see, enter, netlink},
			},
		},
		{
			"root that may write anywhere",
			syscall.SysProcAttr{},
			nil, false,
			[]string{""},
			report{
				Kept:         []string{"the agent stays root: where it writes is in a config that can be read only once"},
				Capabilities: have & Needed(), Refused: never, Allowed: []string{read, create, see, enter, netlink, "create a file in 0"},
			},
		},
		{
			"root of a user namespace without other users",
			syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
			},
			nil, false, nil,
			report{
				Kept: []string{"the agent stays root: this user namespace has no user or group 65532"}, Capabilities: Needed(),
				Refused: append([]string{create, see, enter}, never...), Allowed: []string{read, netlink},
			},
		},
		{
			"nobody with CAP_NET_ADMIN",
			syscall.SysProcAttr{
				Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN},
			},
			nil, false, nil,
			report{
				User: 65534, Group: 65534, Capabilities: netns.Capabilities(0).With(netns.NetAdmin),
				Refused: append([]string{read, create, see, enter}, never...), Allowed: []string{netlink},
			},
		},
		{
			"nobody under a filter",
			syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}},
			nil, true, nil,
			report{User: 65534, Group: 65534, Refused: append([]string{read, create, see, enter}, never...), Allowed: []string{netlink}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.want.Status = confined
			args := slices.Concat(tt.by, []string{program}, tt.writes)
			if tt.by == nil {
				args[0] = "/proc/self/exe" // its folder is root's own
			}
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Env = append(os.Environ(), asChild+"="+roots)
			if tt.filter {
				cmd.Env = append(cmd.Env, asFiltered+"=1")
			}
			cmd.Dir = "/"
			cmd.Stderr = os.Stderr
			cmd.SysProcAttr = &tt.attr
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			var got report
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			sort := func(s []string) map[string]bool {
				m := map[string]bool{}
				for _, x := range s {
					m[x] = true
				}
				return m
			}
			if diff := cmp.Diff(sort(tt.want.Refused), sort(got.Refused)); diff != "" {
				t.Errorf("refused (-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(sort(tt.want.Allowed), sort(got.Allowed)); diff != "" {
				t.Errorf("allowed (-want +got)\n%s", diff)
			}
			got.Refused, got.Allowed, tt.want.Refused, tt.want.Allowed = nil, nil, nil, nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestMapped(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text string
		id   uint32
		want bool
	}{
		{"         0          0 4294967295\n", stranger, true},
		{"0 100000 65532\n", stranger, false},
		{"0 1000 1\n1 100000 65536\n", stranger, true},
		{"70000 0 10\n", stranger, false},
		{"", 0, false},
		{"x", 0, false},
	} {
		if got := mapped(tt.text, tt.id); got != tt.want {
			t.Errorf("%q has %d: %v, want %v", tt.text, tt.id, got, tt.want)
		}
	}
}
