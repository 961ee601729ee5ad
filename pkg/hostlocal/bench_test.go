package hostlocal

import (
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkAddRelease is one ADD and one DEL beside n reservations; perf.md asks
// for a cost that does not grow with n.
func BenchmarkAddRelease(b *testing.B) {
	for _, n := range []int{0, 10_000, 50_000} {
		b.Run(fmt.Sprintf("reservations=%d", n), func(b *testing.B) {
			c, m := fill(b, n), testMachine()
			b.ResetTimer()
			for range b.N {
				if _, err := m.add(b.Context(), c, owner(n+1), "/proc/self/ns/net"); err != nil {
					b.Fatal(err)
				}
				if err := m.release(b.Context(), c, owner(n+1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1, 50_000} {
		b.Run(fmt.Sprintf("reservations=%d", n), func(b *testing.B) {
			c, m := fill(b, n), testMachine()
			b.ResetTimer()
			for range b.N {
				if err := m.check(b.Context(), c, owner(n/2)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRebuild is what the first call after a change by others pays.
func BenchmarkRebuild(b *testing.B) {
	for _, n := range []int{1_000, 50_000} {
		b.Run(fmt.Sprintf("reservations=%d", n), func(b *testing.B) {
			c, m := fill(b, n), testMachine()
			s, err := m.enter(b.Context(), c)
			if err != nil {
				b.Fatal(err)
			}
			defer s.close()
			b.ResetTimer()
			for range b.N {
				if err := s.rebuild(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fill makes n reservations, as upstream would, and the index of them.
func fill(b *testing.B, n int) Config {
	b.Helper()
	c := testConfig(b, b.TempDir(), `"subnet": "10.0.0.0/12"`)
	a := netip.MustParseAddr("10.0.0.2")
	for i := range n {
		write(b, c, a.String(), owner(i).content())
		a = a.Next()
	}
	if n > 0 {
		write(b, c, "last_reserved_ip.0", a.Prev().String())
	}
	mustAdd(b, testMachine(), c, owner(n+1))
	if err := testMachine().release(b.Context(), c, owner(n+1)); err != nil {
		b.Fatal(err)
	}
	return c
}
