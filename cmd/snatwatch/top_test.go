package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// fixture serves the snapshot of the API's tests.
func fixture(t *testing.T) string {
	t.Helper()
	snapshot, err := os.ReadFile("../../internal/web/testdata/snapshot.json")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(snapshot) }))
	t.Cleanup(s.Close)
	return s.URL
}

// The live table as a terminal of 80 columns shows it, by what stands on its screen after each key.
func TestTopInATerminal(t *testing.T) {
	t.Parallel()
	tmux := kerneltest.Program(t, "tmux", "tmux")
	socket := filepath.Join(t.TempDir(), "s")
	run := func(args ...string) string {
		out, err := exec.Command(tmux, append([]string{"-f", "/dev/null", "-S", socket}, args...)...).CombinedOutput()
		if err != nil {
			t.Logf("tmux %v: %v: %s", args, err, out)
		}
		return string(out)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run("new-session", "-d", "-x", "80", "-y", "12", asProgram+"=1 "+self+" top --agent "+fixture(t)+"; echo ended with $?; exec cat")
	t.Cleanup(func() { run("kill-server") })
	shows := func(after string, wants ...string) {
		t.Helper()
		screen := ""
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			screen = run("capture-pane", "-p")
			missing := false
			for _, w := range wants {
				missing = missing || !strings.Contains(screen, w)
			}
			if !missing {
				return
			}
		}
		t.Fatalf("a minute after %s the screen lacks one of %q:\n%s", after, wants, screen)
	}
	shows("the start", "> 203.0.113.7:443", "967/1024", "141s", "sort left", "q quit")
	run("send-keys", "j")
	shows("j", "> 203.0.113.8:443")
	run("send-keys", "Enter")
	shows("enter", "budget web, tcp: 251 held, 63 of them cooling")
	run("send-keys", "s")
	shows("s", "sort held")
	run("send-keys", "/")
	shows("/", "filter: _")
	run("send-keys", "udp")
	shows("typing", "filter: udp_", "> 203.0.113.53:*/udp", "1 port space")
	run("send-keys", "Enter", "Space")
	shows("space", "PAUSED, sort held")
	run("resize-window", "-x", "60", "-y", "8")
	shows("a smaller window", "> 203.0.113.53:*/udp")
	run("send-keys", "q")
	shows("q", "ended with 0")
}

// What is no terminal gets the table once, without colours; --json gives it to programs.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	e, out, errs := quiet()
	if status := e.run(context.Background(), []string{"top", "--agent", fixture(t), "--filter", "203.0.113.7"}); status != statusOK {
		t.Fatalf("status %d: %s", status, errs())
	}
	if text := out(); !strings.Contains(text, "967/1024") || strings.Contains(text, "251/1024") || strings.Contains(text, "\x1b") {
		t.Errorf("printed %q", text)
	}
	e, out, _ = quiet()
	if status := e.run(context.Background(), []string{"top", "--agent", fixture(t), "--json"}); status != statusOK {
		t.Fatalf("status %d", status)
	}
	var table struct {
		Rows []struct {
			Held int `json:"held"`
		} `json:"port_spaces"`
	}
	if err := json.Unmarshal([]byte(out()), &table); err != nil || len(table.Rows) != 3 || table.Rows[0].Held != 967 {
		t.Errorf("%+v, error %v; want three rows, the soonest first", table, err)
	}
	for _, args := range [][]string{{"--interval=1ms"}, {"--width=3"}, {"--agent=127.0.0.1:1"}, {"--prometheus=ftp://x"}} {
		e, _, errs := quiet()
		if status := e.run(context.Background(), append([]string{"top"}, args...)); status != statusError || !strings.HasPrefix(errs(), "snatwatch: top: ") {
			t.Errorf("%v: status %d, %s", args, status, errs())
		}
	}
}

// quiet is an env whose output and errors are kept.
func quiet() (e *env, out, errs func() string) {
	stdout, stderr := &logtest.Lines{}, &logtest.Lines{}
	return &env{stdout: stdout, stderr: stderr},
		func() string { return strings.Join(stdout.All(), "") },
		func() string { return strings.Join(stderr.All(), "") }
}
