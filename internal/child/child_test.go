package child_test

import (
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"github.com/snatwatch/snatwatch/internal/child"
)

// A program outlives the threads that Go ends, and its status is the caller's to take.
func TestStartOutlivesThreads(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	// Each of these goroutines takes its thread with it. There are more of them than threads.
	for range 20 {
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { runtime.LockOSThread() })
		}
		all.Wait()
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("cat: %v, want that it ends as its input does", err)
	}
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	if err := child.Start(exec.Command("/nonexistent/program")); err == nil {
		t.Error("a program that is not there was started")
	}
}
