package netns

import (
	"strings"
	"testing"
)

func TestParseEffective(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, status string
		want         string
		wantErr      string
	}{
		{name: "root", status: "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000201000\n", want: "CAP_NET_ADMIN CAP_SYS_ADMIN"},
		{name: "none", status: "CapEff:\t0000000000000000\n", want: "none"},
		{name: "newest, and one that has no name yet", status: "CapEff:\t0000030000000000\n", want: "CAP_CHECKPOINT_RESTORE CAP_41"},
		{name: "no number", status: "CapEff:\tall\n", want: "none", wantErr: `parse CapEff "all": want 64 bits in hexadecimal`},
		{name: "no line", status: "CapPrm:\t0000000000000000\n", want: "none", wantErr: "parse status: no line CapEff"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseEffective(tt.status)
			if got.String() != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if text := errText(err); text != tt.wantErr {
				t.Errorf("error %q, want %q", text, tt.wantErr)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
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

func FuzzParseEffective(f *testing.F) {
	f.Add("CapEff:\t000001ffffffffff\n")
	f.Add("CapEff:")
	f.Fuzz(func(t *testing.T, status string) {
		set, err := parseEffective(status)
		if err != nil && set != 0 {
			t.Errorf("%v with error %v", set, err)
		}
		if set != 0 && strings.Count(set.String(), "CAP_") == 0 {
			t.Errorf("set %x has no names", uint64(set))
		}
	})
}
