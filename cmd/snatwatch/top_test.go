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
	"unicode/utf8"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/logtest"
)

// fixture serves the snapshot of the API's tests, changed where change is not nil.
func fixture(t *testing.T, change *strings.Replacer) string {
	t.Helper()
	snapshot, err := os.ReadFile("../../internal/web/testdata/snapshot.json")
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		snapshot = []byte(change.Replace(string(snapshot)))
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(snapshot) }))
	t.Cleanup(s.Close)
	return s.URL
}

// terminal is a tmux of 80 columns and 12 lines.
type terminal struct {
	t            *testing.T
	tmux, socket string
}

// inTerminal runs snatwatch with args and an environment in a terminal until the test ends.
func inTerminal(t *testing.T, environment, args string) *terminal {
	t.Helper()
	x := &terminal{t, kerneltest.Program(t, "tmux", "tmux"), filepath.Join(t.TempDir(), "s")}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	x.run("new-session", "-d", "-x", "80", "-y", "12", asProgram+"=1 "+environment+" "+self+" "+args+"; echo ended with $?; exec cat")
	t.Cleanup(func() { x.run("kill-server") })
	return x
}

func (x *terminal) run(args ...string) string {
	out, err := exec.Command(x.tmux, append([]string{"-f", "/dev/null", "-S", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		x.t.Logf("tmux %v: %v: %s", args, err, out)
	}
	return string(out)
}

// shows waits until all of wants are on the screen, and returns it.
func (x *terminal) shows(after string, wants ...string) (screen string) {
	x.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		screen = x.run("capture-pane", "-p")
		missing := false
		for _, w := range wants {
			missing = missing || !strings.Contains(screen, w)
		}
		if !missing {
			return screen
		}
	}
	x.t.Fatalf("a minute after %s the screen lacks one of %q:\n%s", after, wants, screen)
	return ""
}

// The live table as a terminal of 80 columns shows it, by what stands on its screen after each key.
func TestTopInATerminal(t *testing.T) {
	t.Parallel()
	x := inTerminal(t, "", "top --agent "+fixture(t, nil))
	run, shows := x.run, x.shows
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

// Names that are too long for 80 columns are cut in the middle and push nothing aside; what a name has of a terminal's
// own signs is not sent to it; and without colour no colour is.
func TestTopOfLongNamesWithoutColour(t *testing.T) {
	t.Parallel()
	url := fixture(t, strings.NewReplacer(
		`"destination": "203.0.113.7:443"`, `"vip": "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "destination": "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535"`,
		`"name": "web"`, `"name": "a-budget-with-a-name-that-is-longer-than-any-terminal-is-wide-and-goes-on-for-a-while"`,
		`payments/checkout-7d9f`, `payments/\u001b[2J\u001b]0;owned\u0007checkout-with-a-name-of-the-longest-kind-that-kubernetes-allows-`+strings.Repeat("7d9f", 30),
	))
	const row = "> [2001:db8:~:ffff:ffff [####### ]      967/1024      31    31s      141s     19"
	for _, tt := range []struct {
		name, environment string
		coloured          bool
	}{
		{"with colour", "TERM=screen", true},
		{"NO_COLOR", "TERM=screen NO_COLOR=1", false},
		{"a dumb terminal", "TERM=dumb", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := inTerminal(t, tt.environment, "top --agent "+url)
			x.shows("the start", row)
			x.run("send-keys", "Enter")
			screen := x.shows("enter", row, "budget a-budget-with", "payments/?[2J?]0;owned?checkout", "203.0.113.8:443")
			for line := range strings.Lines(screen) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, " \n")); n > 80 {
					t.Errorf("a line of %d: %s", n, line)
				}
			}
			x.run("send-keys", "j")
			x.shows("j", "> 203.0.113.8:443")
			if coloured := strings.Contains(x.run("capture-pane", "-p", "-e"), "\x1b[33m"); coloured != tt.coloured {
				t.Errorf("coloured: %v, want %v", coloured, tt.coloured)
			}
			x.run("send-keys", "q")
			x.shows("q", "ended with 0")
		})
	}
}

// What is no terminal gets the table once, without colours; --json gives it to programs.
func TestTopOnce(t *testing.T) {
	t.Parallel()
	e, out, errs := quiet()
	if status := e.run(context.Background(), []string{"top", "--agent", fixture(t, nil), "--filter", "203.0.113.7"}); status != statusOK {
		t.Fatalf("status %d: %s", status, errs())
	}
	if text := out(); !strings.Contains(text, "967/1024") || strings.Contains(text, "251/1024") || strings.Contains(text, "\x1b") {
		t.Errorf("printed %q", text)
	}
	e, out, _ = quiet()
	if status := e.run(context.Background(), []string{"top", "--agent", fixture(t, nil), "--json"}); status != statusOK {
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

// Two sources are not one: neither is taken in silence.
func TestTopOfOneSource(t *testing.T) {
	t.Parallel()
	e, _, errs := quiet()
	args := []string{"top", "--once", "--agent=http://127.0.0.1:1", "--prometheus=http://127.0.0.1:1"}
	status := e.run(context.Background(), args)
	if status != statusError || !strings.Contains(errs(), "either --agent or --prometheus") {
		t.Errorf("status %d, %s", status, errs())
	}
}
