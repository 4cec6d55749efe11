package conntrack

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Where files of root cannot be read, nobody knows whether iptables-legacy keeps events back: the source then does
// without them, and says what it lacks.
func TestKernelMasksUnread(t *testing.T) {
	t.Parallel()
	ns := kerneltest.Netns(t)
	kerneltest.Command(t, ns, kerneltest.Program(t, "iptables-legacy", "iptables"), "-t", "raw", "--list")
	done := make(chan struct{})
	go netns.OnThread(func() { // which ends with these rights
		defer close(done)
		if err := unix.Setns(ns.FD(), unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		conn, err := dial(0)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		const nobody = 65534
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 { // of this thread
			t.Error(errno)
		}
		var m masks
		for _, tt := range []struct {
			user int
			want error
		}{{0, nil}, {nobody, ErrMasksUnread}, {0, nil}} {
			// This takes the rights over files, and no others.
			if err := errors.Join(unix.Setfsgid(tt.user), unix.Setfsuid(tt.user)); err != nil {
				t.Error(err)
			}
			if m.look(t.Context(), conn, ns, 0, 0); !errors.Is(m.why, tt.want) {
				t.Errorf("as user %d: %v, want %v", tt.user, m.why, tt.want)
			}
		}
	})
	<-done
}
