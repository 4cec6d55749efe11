package sockdiag

import (
	"os"
	"path/filepath"
	"testing"
)

func TestParseResent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text string
		want       uint64
		ok         bool
	}{
		{name: "empty"},
		{name: "as the kernel has it", text: "TcpExt: A TCPSynRetrans B\nTcpExt: 1 23 4\nIpExt: X\nIpExt: 9\n", want: 23, ok: true},
		{name: "the last one", text: "TcpExt: A TCPSynRetrans\nTcpExt: 1 23\n", want: 23, ok: true},
		{name: "a kernel without", text: "TcpExt: A B\nTcpExt: 1 2\n"},
		{name: "a value is missing", text: "TcpExt: A TCPSynRetrans\nTcpExt: 1\n"},
		{name: "cut off", text: "TcpExt: A TCPSynRetrans\nTcpExt: 1 2"},
		{name: "no number", text: "TcpExt: TCPSynRetrans\nTcpExt: x\n"},
		{name: "of something else", text: "IpExt: TCPSynRetrans\nIpExt: 1\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got, ok := parseResent([]byte(tt.text)); got != tt.want || ok != tt.ok {
				t.Errorf("got %d, %t, want %d, %t", got, ok, tt.want, tt.ok)
			}
		})
	}
	if _, ok := readResent("/proc/self", make([]byte, netstatBytes)); !ok {
		t.Error("this kernel's own is not read")
	}
}

// A namespace is spared while its count stays, and asked in any case after so many times.
func TestResentSpares(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(count string) {
		t.Helper()
		text := "TcpExt: TCPSynRetrans\nTcpExt: " + count + "\n"
		if err := os.WriteFile(filepath.Join(folder, "net/netstat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	buffer := make([]byte, netstatBytes)
	r := &resent{}
	write("5")
	check := func(what string, folder string, want bool) {
		t.Helper()
		if got := r.spared(folder, buffer); got != want {
			t.Errorf("%s: spared %t, want %t", what, got, want)
		}
	}
	check("never asked", folder, false)
	check("asked, and it had stalls", folder, false)
	r.quiet = true
	check("asked, and it had none", folder, true)
	write("6")
	check("a SYN was sent again", folder, false)
	check("the count stays", folder, true)
	check("no process is known", "", false)
	check("nor was", folder, false)
	for range skipMax {
		check("the count stays", folder, true)
	}
	check("spared for long", folder, false)
}
