package identifier

import (
	"testing"
)

func TestNatural(t *testing.T) {
	sorted := []string{"", "1", "1a", "02", "2", "10", "a", "a1", "a2", "a010", "a10", "a10b", "b", "net-2-9", "net-2-10", "net-10"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := CompareNatural(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("CompareNatural(%q, %q): got %d", a, b, got)
			}
		}
	}
}
