package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
)

// Flows that are neither TCP nor UDP are counted over conntrack.
func TestKernelOtherProtocols(t *testing.T) {
	t.Parallel()
	ns := translating(t)
	a := startAgent(t, "--netns", fmt.Sprintf("/proc/self/fd/%d", ns.FD()), "--source=conntrack", "--poll-interval=500ms", "--strategy=poll")
	var echo net.Conn
	if err := ns.Do(func() (err error) { echo, err = net.Dial("ip4:icmp", "127.0.0.2"); return err }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = echo.Close() }()
	series := fmt.Sprintf(`snat_other_protocol_flows{netns="%d"}`, ns.Inode())
	a.eventually("it counts a ping", func() bool {
		// An echo request, its checksum, id 1, number 1: the same flow each time, which conntrack forgets after 30 s.
		if _, err := echo.Write([]byte{8, 0, 0xf7, 0xfd, 0, 1, 0, 1}); err != nil {
			t.Fatal(err)
		}
		return a.value(series) == 1
	})
}

// A budget that the source cannot see has no series, and is not green: the ledger is inexact, and a notice names the
// remedy.
func TestKernelUnseenBudget(t *testing.T) {
	if os.Geteuid() != 0 {
		kerneltest.Cannot(t, "only root can become somebody else")
	}
	kerneltest.Netns(t) // or skips
	l, err := lab.New(t.Context(), lab.Topology{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "snatwatch.yaml")
	writeConfig(t, config, "2000-2063")
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	router := l.Router()
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	_, logs := startProgram(t, router, nobody, "--config="+config, "--web.listen-address=127.0.0.1:9965")
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = router.Do(func() (err error) { c, err = new(net.Dialer).DialContext(ctx, network, address); return err })
		return c, err
	}}}
	inexact := fmt.Sprintf("snat_ledger_exact{netns=\"%d\"} 0\n", router.Netns())
	body, remedy := "", "setcap cap_net_admin+ep"
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if res, err := client.Get("http://127.0.0.1:9965/metrics"); err == nil {
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			body = string(b)
		}
		all := strings.Join(logs.All(), "")
		if strings.Contains(body, inexact) && strings.Contains(all, "budget lab counts flows") && strings.Contains(all, remedy) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s in:\n%s", inexact, body)
		}
	}
	if strings.Contains(body, `budget="lab"`) {
		t.Error("the budget that nobody sees has series")
	}
}
