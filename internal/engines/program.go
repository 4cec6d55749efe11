// Package engines runs the programs that store metrics and evaluate rules on loopback, for tests that compare them:
// Prometheus, VictoriaMetrics as a single node and as a cluster, Thanos and Cortex. Their programs stand in a folder;
// .ci/engines builds them.
package engines

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/snatwatch/snatwatch/internal/child"
)

// Lab is a folder for data and the folder of programs.
type Lab struct {
	tb            testing.TB
	programs, dir string
}

// New returns a lab with the programs of a folder. It ends with the test.
func New(tb testing.TB, programs string) *Lab {
	tb.Helper()
	return &Lab{tb: tb, programs: programs, dir: tb.TempDir()}
}

// Path is a path in the lab's folder.
func (l *Lab) Path(elements ...string) string {
	return filepath.Join(append([]string{l.dir}, elements...)...)
}

// Put writes a file below the lab's folder and returns its path.
func (l *Lab) Put(name, body string) string {
	l.tb.Helper()
	path := l.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		l.tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o600); err != nil {
		l.tb.Fatal(err)
	}
	return path
}

// Has says whether the folder of programs has one of that name.
func (l *Lab) Has(program string) bool {
	_, err := os.Stat(filepath.Join(l.programs, program))
	return err == nil
}

// Free returns an address of loopback that nobody listens on.
func (l *Lab) Free() string {
	l.tb.Helper()
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l.tb.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	return n.Addr().String()
}

// Program is a child process that serves HTTP.
type Program struct {
	lab           *Lab
	path, healthy string
	args          []string
	log           *os.File
	cmd           *exec.Cmd
	cancel        context.CancelFunc
}

// Start starts a program of the lab, or one elsewhere by its path, and returns when the address healthy answers 200.
func (l *Lab) Start(name, program, healthy string, args ...string) *Program {
	l.tb.Helper()
	p := &Program{lab: l, path: program, healthy: healthy, args: args}
	if l.Has(program) {
		p.path = filepath.Join(l.programs, program)
	}
	var err error
	if p.log, err = os.Create(l.Path(name + ".log")); err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(func() { p.end(); _ = p.log.Close() })
	if err := p.begin(); err != nil {
		l.tb.Fatal(err)
	}
	return p
}

// Restart ends the program as a shutdown does, and starts it again with the same data.
func (p *Program) Restart() error {
	p.end()
	return p.begin()
}

func (p *Program) begin() error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.lab.tb.Context()))
	p.cancel = cancel
	p.cmd = exec.CommandContext(ctx, p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = p.log, p.log, p.lab.dir
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = 20 * time.Second
	if err := child.Start(p.cmd); err != nil {
		return err
	}
	return p.await()
}

// end does nothing where the program did not start.
func (p *Program) end() {
	if p.cancel == nil {
		return
	}
	p.cancel()
	_ = p.cmd.Wait()
}

// await waits two minutes at most: other work may keep the machine busy.
func (p *Program) await() error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		resp, err := http.Get(p.healthy) //nolint:noctx // loopback, and the deadline ends it
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %s", resp.Status)
		}
		if time.Now().After(deadline) {
			body, _ := os.ReadFile(p.log.Name())
			return fmt.Errorf("%s is not up after two minutes: %w\n%s", p.path, err, body)
		}
	}
}
