package kernel

import (
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestSharing: many share, one takes back, and within one host alone.
func TestSharing(t *testing.T) {
	host := testnet.NewHost(t)
	open := func() *Kernel {
		k, err := Open("")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		return k
	}
	share := func(k *Kernel) func() {
		release, err := k.Share()
		if err != nil {
			t.Fatal(err)
		}
		return release
	}
	a, b, c := open(), open(), open()
	releaseA, releaseB := share(a), share(b)
	taken := make(chan error, 1)
	go func() {
		taken <- host.Do(func() error { return c.TakeBack(func() error { return nil }) })
	}()
	other := testnet.NewNS(t, "other")
	if err := other.Do(func() error { return open().TakeBack(func() error { return nil }) }); err != nil {
		t.Errorf("another host: %v", err)
	}
	releaseA()
	select {
	case err := <-taken:
		t.Fatalf("taken back while it was shared: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	// Who shares gives it up to take back, and may do so within itself.
	if err := b.TakeBack(func() error { return b.TakeBack(func() error { return nil }) }); err != nil {
		t.Error(err)
	}
	if err := <-taken; err != nil {
		t.Error(err)
	}
	releaseB() // it has been given up
	share(a)()
}
