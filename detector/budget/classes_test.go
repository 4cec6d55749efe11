package budget

import "testing"

// A label that ends with the name of a class is of that class, behind a VIP and a zone too.
func TestClassNamed(t *testing.T) {
	t.Parallel()
	for c := AnyClass; c <= ReservedClass; c++ {
		for _, before := range []string{"", "198.51.100.1 ", "zone 7 "} {
			if got := ClassNamed(before + c.String()); got != c {
				t.Errorf("%q is of class %d, want %d", before+c.String(), got, c)
			}
		}
	}
}
