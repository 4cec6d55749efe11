package natrules_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/snatwatch/snatwatch/collector/natrules"
	"github.com/snatwatch/snatwatch/collector/netns"
	"github.com/snatwatch/snatwatch/internal/kerneltest"
)

// Without rights the error says that it is for want of them.
func TestKernelReadWithoutRights(t *testing.T) {
	if !kerneltest.Unprivileged(t) {
		return
	}
	ns, err := netns.Self()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ns.Close() }()
	if _, err := natrules.Read(ns); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want %v", err, fs.ErrPermission)
	}
}
