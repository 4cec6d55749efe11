package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signalledChild makes a child of TestSecondSignal wait for signals as the agent does.
const signalledChild = "SNATWATCH_TEST_SIGNALLED"

// A second SIGTERM must not end an agent that is still saving its state; a second SIGINT ends any process.
func TestSecondSignal(t *testing.T) {
	if os.Getenv(signalledChild) != "" {
		ctx, stop := signalled()
		fmt.Println("started")
		<-ctx.Done()
		fmt.Println("asked to stop")
		_, _ = io.ReadAll(os.Stdin) // until the parent lets it go
		fmt.Println("saved")
		stop()
		os.Exit(0)
	}
	for _, tt := range []struct {
		name   string
		signal syscall.Signal
		saved  bool
	}{
		{"SIGTERM", syscall.SIGTERM, true},
		{"SIGINT", syscall.SIGINT, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSecondSignal$")
			c.Env = append(os.Environ(), signalledChild+"=1")
			in, err := c.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(out)
			for _, want := range []string{"started\n", "asked to stop\n"} {
				if got, err := lines.ReadString('\n'); got != want {
					t.Fatalf("the child said %q (%v), want %q", got, err, want)
				}
				if err := c.Process.Signal(tt.signal); err != nil {
					t.Fatal(err)
				}
			}
			ended := make(chan struct{})
			if tt.saved {
				_ = in.Close()
			} else { // it says that it was asked a moment before it takes the next one
				go func() {
					for tick := time.Tick(20 * time.Millisecond); ; {
						select {
						case <-ended:
							return
						case <-tick:
							_ = c.Process.Signal(tt.signal)
						}
					}
				}()
			}
			rest, _ := io.ReadAll(lines)
			err = c.Wait()
			close(ended)
			if got := strings.Contains(string(rest), "saved") && err == nil; got != tt.saved {
				t.Errorf("saved %v (%q, %v), want %v", got, rest, err, tt.saved)
			}
			_ = in.Close()
		})
	}
}

// completedChild holds the words before which a child of TestCompletion is asked what may follow.
const completedChild = "SNATWATCH_TEST_COMPLETED"

// A shell offers commands while their name is being typed, not only before its first letter.
func TestCompletion(t *testing.T) {
	if words, ok := os.LookupEnv(completedChild); ok {
		e := &env{stdout: os.Stdout, stderr: os.Stderr}
		os.Exit(e.run(t.Context(), append([]string{"--completion-bash"}, strings.Split(words, " ")...)))
	}
	for _, tt := range []struct{ words, want string }{
		{"", "check"},
		{"ch", "check"},
		{"run --sta", "--state-file"},
		{"run --source", "conntrack"},
		{"run --source con", "conntrack"},
		{"check --con", "--config"},
	} {
		t.Run(tt.words, func(t *testing.T) {
			t.Parallel()
			c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCompletion$")
			c.Env = append(os.Environ(), completedChild+"="+tt.words)
			out, err := c.CombinedOutput()
			if err != nil || !slices.Contains(strings.Fields(string(out)), tt.want) {
				t.Errorf("offers %q (%v), want %s among them", out, err, tt.want)
			}
		})
	}
}

// A value that a flag does not take is refused with the flag's name.
func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"--poll-interval=1", "--poll-interval: "},
		{"run --poll-interval 1", "--poll-interval: "},
		{"--record.max-bytes=1", "--record.max-bytes: "},
		{"--source=foo", "--source: foo: want auto, conntrack or sockets"},
		{"--limits.tracked=many", "--limits.tracked: "},
		{"--cpu-budget=much", "--cpu-budget: "},
		{"--log.level=loud", "--log.level: "},
		{"--log.format=json --cpu-budget=much", "--cpu-budget: "},
		{"plan --nodes=x", "--nodes: x: want a whole number"},
		{"plan --nodes=2.7", "--nodes: 2.7: want a whole number"},
		{"verify --limit=1e20", "--limit: 1e20: want a whole number"},
		{"plan --nodes -2.5", "--nodes: -2.5: want a whole number"},
		{"plan --opens=x", "--opens: x: want a number"},
		{"top --interval=2", "--interval: 2: want a duration such as 10s or 4m"},
		{"record --out=x --max-bytes=5", "--max-bytes: 5: want a number of bytes such as 256MiB"},
		{"plan --nodes", "expected argument for flag '--nodes'"},
		{"--nosuch", "unknown long flag '--nosuch'"},
		{"chek", "unexpected chek"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			var out, mistake strings.Builder
			e := &env{stdout: &out, stderr: &mistake}
			status := e.run(t.Context(), strings.Fields(tt.args))
			if status != statusUsage || !strings.HasPrefix(mistake.String(), "snatwatch: "+tt.want) || strings.Count(mistake.String(), "\n") != 1 {
				t.Errorf("status %d, %q, want %d and one line that begins with %q", status, mistake.String(), statusUsage, tt.want)
			}
		})
	}
}

// A number below 0 is refused as a number: kingpin takes it for a flag.
func TestNegativeNumbers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"plan --opens -5 --lifetime 2s --nodes 48", "plan: opens per second: -5, want above 0 up to 1e+06"},
		{"plan --opens 5 --lifetime 2s --nodes -4", "plan: nodes: -4, want 1 to 1000000"},
		{"plan --opens 5 --lifetime 2s --nodes 48 --spread -0.1", "plan: spread: -0.1, want 0 up to 2"},
		{"verify --target 127.0.0.1:1 --limit -5", "verify: limit -5: want"},
		{"verify --target 127.0.0.1:1 --limit 5 --ports -5", "verify: ports -5: want 1 or more"},
		{"verify --target 127.0.0.1:1 --limit 5 --hold -1s", "verify: hold -1s: want more than 0, and at most an hour"},
		{"top --interval -1s", "top: interval -1s: want 100ms or more"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			t.Parallel()
			var out, mistake strings.Builder
			e := &env{stdout: &out, stderr: &mistake}
			if status := e.run(t.Context(), strings.Fields(tt.args)); status != statusError || !strings.HasPrefix(mistake.String(), "snatwatch: "+tt.want) {
				t.Errorf("status %d, %q, want %d and %q", status, mistake.String(), statusError, tt.want)
			}
		})
	}
}
