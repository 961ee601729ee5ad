package etcd

import (
	"context"
	"testing"
	"time"
)

// What begins at an address that the host has no more is given up, and something else is taken.
func TestLeaveAnAddress(t *testing.T) {
	c := newClient(t, newEtcd(t).Endpoints()...)
	ctx, cancel := context.WithCancel(t.Context())
	reports, done := make(chan bool, 100), make(chan struct{})
	go func() {
		c.AwaitConnection(ctx, func(connected bool) { reports <- connected })
		close(done)
	}()
	defer func() {
		cancel()
		<-done
	}()
	await := func(want bool) {
		t.Helper()
		for deadline := time.After(patience); ; {
			select {
			case got := <-reports:
				if got == want {
					return
				}
			case <-deadline:
				t.Fatalf("connected %v: not seen in time", want)
			}
		}
	}
	await(true)
	c.Leave(addr("192.0.2.1"))
	put(t, c, "blue", "")
	if len(reports) > 0 {
		t.Errorf("connected %v after leaving an address that is another's", <-reports)
	}
	c.Leave(addr("127.0.0.1"))
	await(false)
	await(true)
	put(t, c, "green", "")
	if got := len(c.connections.all); got != 1 {
		t.Errorf("%d connections are remembered, want that which is open", got)
	}
}
