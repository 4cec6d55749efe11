package lab

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
)

// errClosed is what a job gets that comes after the namespace was closed.
var errClosed = errors.New("lab: namespace is closed")

// namespace is a network namespace without a name, and one OS thread that stays in it. It
// ends when the thread, the file and every socket made in it are gone.
type namespace struct {
	file  *os.File
	inode uint64
	jobs  chan func()
	quit  chan struct{}
	done  chan struct{}
}

// newNamespace makes a namespace. close ends its thread.
func newNamespace() (*namespace, error) {
	n := &namespace{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	started := make(chan error)
	go netns.OnThread(func() { n.run(started) })
	if err := <-started; err != nil {
		return nil, err
	}
	return n, nil
}

func (n *namespace) run(started chan<- error) {
	defer close(n.done)
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		started <- fmt.Errorf("make a network namespace: %w", err)
		return
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		started <- err
		return
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		_ = file.Close()
		started <- fmt.Errorf("stat namespace: %w", err)
		return
	}
	n.file, n.inode = file, st.Ino
	started <- nil
	for {
		select {
		case job := <-n.jobs:
			job()
		case <-n.quit:
			return
		}
	}
}

// do runs f on the thread inside the namespace and returns its error. Sockets that f makes
// belong to the namespace and may be used from anywhere afterwards.
func (n *namespace) do(f func() error) error {
	err := make(chan error, 1)
	select {
	case n.jobs <- func() { err <- f() }:
		return <-err
	case <-n.done:
		return errClosed
	}
}

// close ends the thread and gives up the file. It may be called once.
func (n *namespace) close() error {
	close(n.quit)
	<-n.done
	return n.file.Close()
}
