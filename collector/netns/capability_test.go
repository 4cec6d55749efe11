package netns

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func TestCapabilities(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  Capabilities
		want string
	}{
		{"two", 0x201000, "CAP_NET_ADMIN CAP_SYS_ADMIN"},
		{"none", 0, "none"},
		{"newest, and one that has no name yet", 0x30000000000, "CAP_CHECKPOINT_RESTORE CAP_41"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := tt.set.String(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// Effective is what proc_pid_status(5) shows of the same thread.
func TestEffective(t *testing.T) {
	t.Parallel()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(status), "CapEff:\t")
	line, _, _ = strings.Cut(line, "\n")
	want, err := strconv.ParseUint(line, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Effective(); got != Capabilities(want) || err != nil {
		t.Errorf("got %v, %v, want %v", got, err, Capabilities(want))
	}
}

// Threads that end while others ask do not disturb them.
func TestEffectiveWhileThreadsEnd(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2000 {
			ended := make(chan struct{})
			go OnThread(func() { close(ended) })
			<-ended
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			if _, err := Effective(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The names and the kernel's numbers must go together.
func TestCapabilityNames(t *testing.T) {
	t.Parallel()
	for c, want := range map[Capability]string{
		DACReadSearch: "CAP_DAC_READ_SEARCH", NetAdmin: "CAP_NET_ADMIN", SysPtrace: "CAP_SYS_PTRACE", SysAdmin: "CAP_SYS_ADMIN",
	} {
		if got := c.String(); got != want {
			t.Errorf("capability %d: %s, want %s", uint8(c), got, want)
		}
	}
}
