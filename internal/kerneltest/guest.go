package kerneltest

import (
	"os"
	"testing"
)

// Guest skips the test unless this is a machine of the tests' own, which .ci/guests boots and names by the environment
// variable KERNEL_GUEST. A test that changes all of a machine, such as its clock, calls it first.
func Guest(t testing.TB) {
	t.Helper()
	if os.Getenv("KERNEL_GUEST") == "" {
		t.Skip("it changes the whole machine: .ci/guests boots one for it")
	}
}
