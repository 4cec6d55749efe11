package agent

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/collector"
)

// stateWriter names the file that a child of TestStateFileSurvivesKill writes over and over.
const stateWriter = "SNATWATCH_TEST_STATE_WRITER"

// A kill -9 at any moment leaves a state that can be read, whole.
func TestStateFileSurvivesKill(t *testing.T) {
	now := collector.Clock()
	good := newStateLoop(t, now).learned()
	if path := os.Getenv(stateWriter); path != "" {
		for first := true; ; first = false {
			if err := writeAtomically(path, good); err != nil {
				t.Fatal(err)
			}
			if first {
				_, _ = os.Stdout.WriteString("written\n")
			}
		}
	}
	path := filepath.Join(t.TempDir(), "state")
	for kill := range 15 {
		c := exec.Command(os.Args[0], "-test.run=^TestStateFileSurvivesKill$")
		c.Env = append(os.Environ(), stateWriter+"="+path)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil || line != "written\n" {
			t.Fatalf("the child said %q, %v", line, err)
		}
		time.Sleep(time.Duration(kill) * 700 * time.Microsecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != len(good) || !bytes.Equal(b[:16], good[:16]) {
			t.Fatalf("kill %d left %d bytes, want %d", kill, len(b), len(good))
		}
		if err := newStateLoop(t, now).restore(b, now()); err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
	}
}
