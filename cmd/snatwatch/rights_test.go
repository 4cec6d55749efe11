package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/confine"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// asProgram makes the test binary run as snatwatch itself.
const asProgram = "SNATWATCH_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// startProgram runs snatwatch as a process of its own in the namespace of h, with attr's rights.
func startProgram(t *testing.T, h *lab.Host, attr *syscall.SysProcAttr, args ...string) (*exec.Cmd, *logtest.Lines) {
	t.Helper()
	logs := &logtest.Lines{}
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Dir = "/"
	cmd.Stderr = logs
	cmd.SysProcAttr = attr
	if err := h.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log:\n%s", strings.Join(logs.All(), ""))
		}
	})
	return cmd, logs
}

// With fewer rights the agent takes what it may read, and says what is missing.
func TestKernelRights(t *testing.T) {
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	if os.Geteuid() != 0 {
		kerneltest.Cannot(t, "only root can become somebody else")
	}
	l, err := lab.New(t.Context(), lab.Topology{NAT: []lab.NAT{{VIPs: []netip.Addr{lab.VIP(0)}, Ports: collector.PortRange{First: 2000, Last: 2063}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	router := l.Router()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
		err = router.Do(func() (err error) {
			c, err = (&net.Dialer{}).DialContext(ctx, network, address)
			return err
		})
		return c, err
	}}}
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	tests := []struct {
		name   string
		attr   *syscall.SysProcAttr
		args   []string
		port   int
		source string
		log    []string
		caps   netns.Capabilities // that the process has in the end, of those that it needs
		user   int
	}{
		{
			name: "nobody", attr: &syscall.SysProcAttr{Credential: nobody}, port: 9961, source: "sockets", user: 65534,
			log: []string{"missing CAP_NET_ADMIN", "setcap cap_net_admin+ep", "CAP_SYS_PTRACE"},
		},
		{
			name: "nobody with CAP_NET_ADMIN", port: 9962, source: "conntrack",
			attr: &syscall.SysProcAttr{Credential: nobody, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}},
			log:  []string{"2 NAT rules"}, caps: netns.Capabilities(0).With(netns.NetAdmin), user: 65534,
		},
		{
			name: "root of a user namespace, as in a rootless container", port: 9966, source: "sockets",
			attr: &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{HostID: 0, Size: 65536}}, GidMappings: []syscall.SysProcIDMap{{HostID: 0, Size: 65536}},
			},
			log: []string{
				"CAP_NET_ADMIN does not count here: conntrack is not read", "the NAT rules of this machine cannot be read, so",
				"belongs to a user namespace outside this one",
			},
			caps: confine.Needed(),
		},
		{name: "root", attr: &syscall.SysProcAttr{}, port: 9963, source: "conntrack", log: []string{"2 NAT rules"}, caps: effective(t) & confine.Needed(), user: 65532},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address := fmt.Sprintf("127.0.0.1:%d", tt.port)
			cmd, logs := startProgram(t, router, tt.attr, append(tt.args, "--web.listen-address="+address)...)
			want := fmt.Sprintf(`snat_source_info{netns="%d",source="%s"`, router.Netns(), tt.source)
			var body string
			for deadline := time.Now().Add(time.Minute); !strings.Contains(body, want); time.Sleep(100 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("no %s in:\n%s", want, body)
				}
				if res, err := client.Get("http://" + address + "/metrics"); err == nil {
					b, _ := io.ReadAll(res.Body)
					_ = res.Body.Close()
					body = string(b)
				}
			}
			all := strings.Join(logs.All(), "")
			for _, text := range tt.log {
				if !strings.Contains(all, text) {
					t.Errorf("the log does not say %q", text)
				}
			}
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				fmt.Sprintf("\nCapEff:\t%016x\n", uint64(tt.caps)), fmt.Sprintf("\nUid:\t%d\t", tt.user),
				"\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n",
			} {
				if !bytes.Contains(status, []byte(want)) {
					t.Errorf("want %q in:\n%s", want, status)
				}
			}
		})
	}
	t.Run("nobody who asks for conntrack", func(t *testing.T) {
		t.Parallel()
		cmd, logs := startProgram(t, router, &syscall.SysProcAttr{Credential: nobody}, "--source=conntrack", "--web.listen-address=127.0.0.1:9964")
		var failed *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &failed) || failed.ExitCode() != statusError {
			t.Errorf("ended with %v, want status %d", err, statusError)
		}
		if all := strings.Join(logs.All(), ""); !strings.Contains(all, "no source works: source conntrack: missing CAP_NET_ADMIN") {
			t.Error("the log does not say why")
		}
	})
}

func effective(t *testing.T) netns.Capabilities {
	t.Helper()
	have, err := netns.Effective()
	if err != nil {
		t.Fatal(err)
	}
	return have
}
