package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/confine"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// An agent that root starts becomes the owner of its folders. It counts flows, names whose they are, reloads a config that
// only root may read, records, and saves what it learned.
func TestKernelConfined(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin, netns.SysPtrace, netns.DACReadSearch)
	if os.Geteuid() != 0 {
		kerneltest.Cannot(t, "only root can become somebody else")
	}
	l, to := oneVIP(t, 2063)
	const owner = 4242
	dir := t.TempDir()
	folder := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, owner, owner); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config, state, record := filepath.Join(dir, "snatwatch.yaml"), folder("state"), folder("record")
	configure := func(ports int) {
		text := fmt.Sprintf("budgets: [{name: cloud, model: static, ports: %d, vips: [%s]}]\nstate_file: %s/state\n", ports, lab.VIP(0), state)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	configure(100)
	a := &restarted{t: t, where: l.Router(), address: "127.0.0.1:9973", load: &load{}}
	a.connect()
	cmd, _ := startProgram(t, a.where, &syscall.SysProcAttr{}, "--config="+config, "--record.out="+record,
		"--web.listen-address="+a.address, "--source=conntrack", "--strategy=poll", "--poll-interval=200ms", "--cpu-budget=1")
	a.process, a.wait = cmd.Process, cmd.Wait
	a.await("it is ready", func() bool { _, err := a.get("/-/ready"); return err == nil })

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nUid:\t4242\t4242\t4242\t4242\n", "\nGid:\t4242\t4242\t4242\t4242\n", "\nGroups:\t \n", "\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n",
		fmt.Sprintf("\nCapEff:\t%016x\n", uint64(effective(t)&confine.Needed())),
	} {
		if !strings.Contains(string(status), want) {
			t.Errorf("want %q in\n%s", want, status)
		}
	}

	flows, err := l.Node(0).OpenTCP(to, 20)
	if err != nil {
		t.Fatal(err)
	}
	a.await("20 flows are live", func() bool { return a.value(`snat_ports_live{budget="cloud"`) == 20 })
	configure(200)
	if err := a.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	a.await("it has read the config again", func() bool { return a.value(`snat_budget_ports{budget="cloud",protocol="tcp"}`) == 200 })
	flows.Close()
	a.await("they are gone", func() bool { return a.value(`snat_ports_live{budget="cloud"`) == 0 })
	a.end()

	saved, err := os.Stat(filepath.Join(state, "state"))
	if err != nil {
		t.Fatal(err)
	}
	if st, ok := saved.Sys().(*syscall.Stat_t); !ok || st.Uid != owner || saved.Size() == 0 {
		t.Errorf("the state file: %+v", saved)
	}
	rows := rowsOf(t, record)
	rows = slices.DeleteFunc(rows, func(r map[string]string) bool { return r["destination"] != to.Addr().String() })
	if len(rows) != 20 {
		t.Errorf("%d flows recorded, want 20", len(rows))
	}
}
