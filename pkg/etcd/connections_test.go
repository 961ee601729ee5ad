package etcd

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
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

// An etcd that is overloaded gets one connection to find out why, and not one for each request that fails.
func TestOneDiagnosisForAll(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	var knocks atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			knocks.Add(1)
			time.Sleep(50 * time.Millisecond)
			_, _ = conn.Write([]byte("\x00\x00\x00\x04\x00\x00\x00\x00\x00")) // as etcd does
			_ = conn.Close()
		}
	}()
	c := &Client{config: Config{Endpoints: []string{"http://" + listener.Addr().String()}}}
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if cause := c.diagnosis.of(t.Context(), c); cause != nil {
				t.Errorf("it answers, and the diagnosis is %v", cause)
			}
		})
	}
	all.Wait()
	if n := knocks.Load(); n == 0 || n > 2 { // two if they took longer than a diagnosis is valid
		t.Errorf("100 failures knocked %d times", n)
	}
}
