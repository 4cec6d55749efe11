package verify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// tick is how often the test opens the flows that are due and looks for timeouts.
const tick = 20 * time.Millisecond

// test is one run. One goroutine owns it.
type test struct {
	Options
	epoll int
	flows []flow
	// index of a flow by its file descriptor.
	index map[int]int
	// opening counts flows without an answer, open those established, row the failures since
	// one last opened, oldest the first flow that may still be opening.
	opening, open, row, oldest int
	peak, failed               int
	local                      error // this machine could not make or connect a socket
	began                      time.Time
}

// Run opens flows to the target until the limit, a row of failures or the end of ctx, holds them,
// releases them and returns what came of them. An error means that nothing was learned; when ctx
// ends, the report is of what was opened until then and says so.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := checkFiles(o.Limit); err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make epoll: %w", err)
	}
	t := &test{Options: o, epoll: epoll, index: map[int]int{}, began: time.Now()}
	defer t.release()
	stopped, err := t.ramp(ctx)
	if err != nil {
		return nil, err
	}
	if stopped != StoppedByUser && t.open > 0 {
		if err := t.hold(ctx); err != nil {
			return nil, err
		}
	}
	return t.report(stopped), nil
}

// ramp opens flows until there is a reason to stop, and waits for those that are opening.
func (t *test) ramp(ctx context.Context) (Stopped, error) {
	next := time.Now()
	step := time.Second / time.Duration(t.Rate)
	told := next
	stopped := Stopped("")
	for {
		now := time.Now()
		switch {
		case stopped != "":
		case t.local != nil:
			stopped = StoppedByMachine
		case t.row >= t.StopAfter:
			stopped = StoppedByFailures
		case len(t.flows) == t.Limit && t.opening == 0:
			return StoppedByLimit, nil
		}
		if stopped != "" && t.opening == 0 {
			return stopped, nil
		}
		for stopped == "" && t.local == nil && len(t.flows) < t.Limit && t.opening < t.Pending && !now.Before(next) {
			t.start(now)
			next = next.Add(step)
		}
		if next.Before(now) {
			next = now // what could not be opened in time is not made up for
		}
		if now.Sub(told) >= time.Second {
			told = now
			t.tell("opening")
		}
		if err := t.wait(tick); err != nil {
			return "", err
		}
		t.expire(time.Now())
		select {
		case <-ctx.Done():
			return StoppedByUser, nil
		default:
		}
	}
}

// hold keeps the flows open and notes which of them end.
func (t *test) hold(ctx context.Context) error {
	end := time.Now().Add(t.Hold)
	told := time.Now()
	for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
		if now.Sub(told) >= time.Second {
			told = now
			t.tell("holding")
		}
		if err := t.wait(tick); err != nil {
			return err
		}
	}
	return nil
}

func (t *test) tell(doing string) {
	if t.Progress != nil {
		t.Progress(Progress{len(t.flows), t.open, t.opening, t.failed, doing})
	}
}

// start opens one flow more.
func (t *test) start(now time.Time) {
	fd, err := newSocket(t.Socket, t.Target)
	if err != nil {
		t.local = fmt.Errorf("make socket: %w", err)
		return
	}
	err = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: int32(fd)})
	if err != nil {
		_ = unix.Close(fd)
		t.local = fmt.Errorf("watch socket: %w", err)
		return
	}
	t.index[fd] = len(t.flows)
	t.flows = append(t.flows, flow{fd: fd, since: now})
	t.opening++
	err = unix.Connect(fd, sockaddr(t.Target))
	switch f := &t.flows[len(t.flows)-1]; {
	case err == nil, errors.Is(err, unix.EINPROGRESS):
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		t.local = fmt.Errorf("open flow %d: %w", len(t.flows), err)
		t.fail(f, errnoName(err))
	default:
		t.fail(f, errnoName(err))
	}
}

// wait handles what the kernel has to tell within d.
func (t *test) wait(d time.Duration) error {
	var events [256]unix.EpollEvent
	n, err := unix.EpollWait(t.epoll, events[:], int(d/time.Millisecond))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for flows: %w", err)
	}
	for _, e := range events[:max(n, 0)] {
		i, known := t.index[int(e.Fd)]
		if !known {
			continue
		}
		f := &t.flows[i]
		if f.state == opening {
			t.answered(f)
		}
		if f.state == open && e.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			t.read(f)
		}
	}
	return nil
}

// answered notes how the connect of f ended.
func (t *test) answered(f *flow) {
	if err := socketError(f.fd); err != nil {
		t.fail(f, errnoName(err))
		return
	}
	f.state = open
	t.opening--
	t.open++
	t.row = 0
	t.peak = max(t.peak, t.open)
	_ = unix.EpollCtl(t.epoll, unix.EPOLL_CTL_MOD, f.fd,
		&unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(f.fd)})
}

// read takes what the target says on an open flow, and notes its end.
func (t *test) read(f *flow) {
	var b [512]byte
	for {
		n, err := unix.Read(f.fd, b[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return
		case err != nil:
			t.lose(f, errnoName(err))
			return
		case n == 0:
			t.lose(f, causeFIN)
			return
		default:
			f.hear(b[:n])
		}
	}
}

// expire fails flows that waited for the timeout. Flows are in the order in which they were started.
func (t *test) expire(now time.Time) {
	for i := t.oldest; i < len(t.flows); i++ {
		f := &t.flows[i]
		if f.state != opening {
			if i == t.oldest {
				t.oldest++
			}
			continue
		}
		if now.Sub(f.since) < t.Timeout {
			return
		}
		if _, err := unix.Getpeername(f.fd); err == nil {
			continue // it has just opened, and epoll is about to say so
		}
		t.fail(f, causeNoAnswer)
	}
}

// fail notes that f did not open and closes its socket.
func (t *test) fail(f *flow, cause string) {
	f.state, f.cause = failed, cause
	t.opening--
	t.failed++
	t.row++
	t.drop(f)
}

// lose notes that an open flow ended before it was released.
func (t *test) lose(f *flow, cause string) {
	f.state, f.cause = lost, cause
	t.open--
	t.drop(f)
}

func (t *test) drop(f *flow) {
	delete(t.index, f.fd)
	_ = unix.Close(f.fd) // epoll forgets it
	f.fd = -1
}

// release resets all flows.
func (t *test) release() {
	for i := range t.flows {
		if f := &t.flows[i]; f.fd >= 0 {
			f.state = released
			t.drop(f)
		}
	}
	_ = unix.Close(t.epoll)
	t.opening, t.open = 0, 0
	t.tell("released")
}
