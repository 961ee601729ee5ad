package hostlocal

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkFull is an ADD on a /16 without a free address, of which no holder is gone.
func BenchmarkFull(b *testing.B) {
	c, m := fullRange(b, "10.1.0.0/16"), testMachine()
	for b.Loop() {
		if _, err := m.add(b.Context(), c, owner(-1), ""); !errors.Is(err, ErrExhausted) {
			b.Fatal(err)
		}
	}
}

// fullRange is a range that upstream has filled, and its index.
func fullRange(t testing.TB, subnet string) Config {
	t.Helper()
	c := testConfig(t, t.TempDir(), fmt.Sprintf(`"subnet": %q`, subnet))
	for a := range c.Ranges[0].after(netip.Addr{}, c.gateways()) {
		write(t, c, a.String(), Owner{ContainerID: a.String(), IfName: "eth0"}.content())
	}
	if _, err := testMachine().add(t.Context(), c, owner(-1), ""); !errors.Is(err, ErrExhausted) {
		t.Fatal(err)
	}
	return c
}

// TestFullRange: what an ADD costs on a full range does not grow with the range, so that those who ask again and again leave the
// lock to those who release. The first to ask after a release gets the address, and one that a dead container holds is found
// by the calls together.
func TestFullRange(t *testing.T) {
	c, m := fullRange(t, "10.1.0.0/20"), testMachine()
	ask := func() (Lease, int, error) {
		f := &faulty{system: linux{}}
		m.sys = f
		l, err := m.add(t.Context(), c, owner(-1), "")
		return l, f.calls, err
	}
	const most = 4*probes + 100
	for range 3 {
		if _, calls, err := ask(); !errors.Is(err, ErrExhausted) || calls > most {
			t.Errorf("%d calls to the kernel, want at most %d: %v", calls, most, err)
		}
	}
	if err := m.release(t.Context(), c, Owner{ContainerID: "10.1.9.9", IfName: "eth0"}); err != nil {
		t.Fatal(err)
	}
	l, _, err := ask()
	if err != nil || addresses(l)[0] != "10.1.9.9/20" {
		t.Fatalf("after a release: %v, %v", addresses(l), err)
	}
	ns := namespace(t)
	if err := m.release(t.Context(), c, owner(-1)); err != nil {
		t.Fatal(err)
	}
	addIn(t, m, c, owner(1), ns)
	remove(t, ns)
	tries := 1
	for ; ; tries++ {
		_, calls, err := ask()
		if err == nil {
			break
		}
		if calls > most || tries > 4093/probes+1 {
			t.Fatalf("try %d, %d calls to the kernel: %v", tries, calls, err)
		}
	}
	t.Logf("found at try %d", tries)
}
