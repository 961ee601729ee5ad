package plugins

import (
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestFlowsAmongManyPorts: what clients from outside send to a container by a published port goes on, and not a datagram of it is lost, while
// two hundred others come and go with 32 ports each.
func TestFlowsAmongManyPorts(t *testing.T) {
	const others, ports, atOnce = 200, 32, 8
	server := testnet.NewNS(t, "server")
	a := bridgeOn(t, server).withPorts(mapping(9000, 7), map[string]any{"hostPort": 9000, "containerPort": 7, "protocol": "udp"})
	outside := outsideOf(t, a.host)
	a = a.after(a.add(t))
	echo(t, server)
	var all []attachment
	for i := range others {
		var mappings []map[string]any
		for j := range ports {
			protocol := []string{"tcp", "udp"}[j%2]
			mappings = append(mappings, map[string]any{"hostPort": 10000 + i*ports + j, "containerPort": 1000 + j, "protocol": protocol})
		}
		all = append(all, a.with("prevResult", nil).withPorts(mappings...).on(testnet.NewNS(t, "c"+strconv.Itoa(i)), "eth0"))
	}

	var done atomic.Bool
	flows := make(chan error, 2)
	for _, protocol := range []string{"tcp", "udp"} {
		go func() { flows <- outside.Do(func() error { return keepAsking(protocol, "192.0.2.1:9000", &done) }) }()
	}
	for _, verb := range []string{"ADD", "DEL"} {
		var group sync.WaitGroup
		slots := make(chan struct{}, atOnce)
		for _, other := range all {
			slots <- struct{}{}
			group.Go(func() {
				defer func() { <-slots }()
				if got := other.run(t, verb); got.code != 0 {
					t.Errorf("%s: %s%s", verb, got.stdout, got.stderr)
				}
			})
		}
		group.Wait()
	}
	done.Store(true)
	for range 2 {
		if err := <-flows; err != nil {
			t.Error(err)
		}
	}
	a.succeed(t, "CHECK")
	a.succeed(t, "DEL")
	if left := a.elements(t); len(left) > 0 {
		t.Errorf("left after DEL: %v", left)
	}
}

// echo sends back what comes to port 7 of a container, in TCP and UDP.
func echo(t *testing.T, n *testnet.Namespace) {
	t.Helper()
	var listener net.Listener
	var datagrams net.PacketConn
	err := n.Do(func() (err error) {
		if listener, err = net.Listen("tcp4", ":7"); err == nil {
			datagrams, err = net.ListenPacket("udp4", ":7")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = listener.Close() // what waits there ends with it
		_ = datagrams.Close()
	})
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }() // the client has gone
		buffer := make([]byte, 64)
		for {
			n, err := c.Read(buffer)
			if err != nil {
				return
			}
			if _, err := c.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	go func() {
		buffer := make([]byte, 64)
		for {
			n, from, err := datagrams.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = datagrams.WriteTo(buffer[:n], from) // the client misses it
		}
	}()
}

// keepAsking sends numbers one after the other, each when the one before has come back. A datagram is sent once.
func keepAsking(protocol, to string, done *atomic.Bool) error {
	const patience = 30 * time.Second // that of a machine with much else to do
	c, err := net.DialTimeout(protocol, to, patience)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // all has been said
	answer := make([]byte, 64)
	for i := 0; !done.Load(); i++ {
		question := strconv.Itoa(i)
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := c.Write([]byte(question)); err != nil {
			return fmt.Errorf("%s: number %d: %w", protocol, i, err)
		}
		n, err := c.Read(answer)
		if err != nil || string(answer[:n]) != question {
			return fmt.Errorf("%s: number %d: got %q, %w", protocol, i, answer[:n], err)
		}
	}
	return nil
}
