package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector/cloud"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// An agent that is a process of its own, with CAP_NET_ADMIN in the router's namespace, watches the incident; the lab waits
// for it and serves it at the lab's own address.
func TestKernelLabWatchedByAnotherAgent(t *testing.T) {
	t.Parallel()
	kerneltest.Require(t, netns.SysAdmin, netns.NetAdmin)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	logs := &logtest.Lines{}
	e := &env{stdout: io.Discard, stderr: logs, metadata: cloud.Client{URL: "http://127.0.0.1:1"}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- e.run(ctx, []string{
			"lab", "--serve", "--no-measure", "--agent=127.0.0.1:9959", "--web.listen-address=" + address,
			"--incident.baseline=2s", "--incident.burst=30m",
		})
	}()
	defer func() {
		cancel()
		if status := <-ended; status != statusOK {
			t.Errorf("exit status %d when interrupted, want %d", status, statusOK)
		}
	}()
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not within two minutes: %s\n%s", what, strings.Join(logs.All(), ""))
			}
		}
	}
	said := func(text string) bool { return strings.Contains(strings.Join(logs.All(), ""), text) }
	path := ""
	eventually("it tells the router's namespace", func() bool {
		if m := regexp.MustCompile(`nsenter --net=([^"]+)"`).FindStringSubmatch(strings.Join(logs.All(), "")); m != nil {
			path = m[1]
		}
		return path != ""
	})
	if said("stage=baseline") {
		t.Error("the incident does not wait for the agent")
	}
	router, err := netns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = router.Close() }()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	if err := router.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	eventually("the incident begins", func() bool { return said("stage=burst") })
	eventually("the agent is seen from outside, with the budget of the router's rule", func() bool {
		answer, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		return err == nil && bytes.Contains(body, []byte("\nsnat_budget_ports{budget=\"auto\",protocol=\"tcp\"} 1024\n"))
	})
}

func TestLabRefusesAnAgentThatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		args       []string
	}{
		{"a name", "--agent=here: want an address and a port", []string{"lab", "--serve", "--agent=here"}},
		{"nobody to watch", "--agent is for --serve and --timeline", []string{"lab", "--agent=127.0.0.1:9959"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			e := &env{stdout: io.Discard, stderr: &stderr}
			if status := e.run(t.Context(), tt.args); status != statusError || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("exit status %d, want %d; error %q, want %q", status, statusError, &stderr, tt.want)
			}
		})
	}
}
