package statetest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

// OutlivesFlush makes an object again and again, where nothing of it is there and where all is, while `nft flush ruleset` comes between
// any two of its steps: it succeeds, and once more leaves it whole.
func OutlivesFlush(t *testing.T, host *testnet.Namespace, object state.Object) {
	t.Helper()
	const rounds = 40
	k := Open(t, nil)
	longest := time.Millisecond
	for round := range rounds {
		if round%2 == 0 {
			flush(t, k)
		}
		wait := rand.N(longest)
		ended := make(chan error, 1)
		begun := time.Now()
		go func() {
			ended <- host.Do(func() error {
				k, err := kernel.Open("")
				if err != nil {
					return err
				}
				defer k.Close()
				_, err = object.Ensure(k)
				return err
			})
		}()
		time.Sleep(wait)
		flush(t, k)
		if err := <-ended; err != nil {
			t.Fatalf("flushed %s after it began: %v", wait, err)
		}
		longest = max(longest, min(time.Since(begun), 20*time.Millisecond))
		if _, err := object.Ensure(Open(t, nil)); err != nil {
			t.Fatal(err)
		}
		Verifies(t, nil, object)
	}
}

func flush(t *testing.T, k *kernel.Kernel) {
	t.Helper()
	conn, err := k.Nftables()
	if err != nil {
		t.Fatal(err)
	}
	conn.FlushRuleset()
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}
