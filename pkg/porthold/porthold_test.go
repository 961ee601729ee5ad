package porthold

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/state/ports"
	"github.com/fairway-cni/fairway/pkg/state/statetest"
	"github.com/fairway-cni/fairway/pkg/testnet"
)

func TestMain(m *testing.M) { testnet.Run(m) }

// published is ports of a container of its own.
func published(container string, list ...ports.Port) ports.Published {
	return ports.Published{
		Owner: statetest.Owner(container), Addrs: []netip.Addr{netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("fd01::2")}, Ports: list,
	}
}

// run holds ports on a host, until the function that it gives is called.
func run(t *testing.T, host *testnet.Namespace) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- host.Do(func() error {
			runtime.LockOSThread() // whatever waits in between
			defer runtime.UnlockOSThread()
			return Run(ctx)
		})
	}()
	stop = func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	return stop
}

// listens says whether a program could listen there: nil, or why not.
func listens(network, address string) error {
	if strings.HasPrefix(network, "udp") {
		c, err := net.ListenPacket(network, address)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	l, err := net.Listen(network, address)
	if err == nil {
		_ = l.Close()
	}
	return err
}

// await waits until a program can, or cannot, listen at all of some places.
func await(t *testing.T, want error, places ...[2]string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for _, place := range places {
		err := listens(place[0], place[1])
		for ; !errors.Is(err, want) && time.Now().Before(deadline); err = listens(place[0], place[1]) {
			time.Sleep(5 * time.Millisecond)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v instead of %v", place, err, want)
		}
	}
}

// TestHeldPorts: what is published is held while it is, at the addresses and in the protocols that it is published for, and no others.
func TestHeldPorts(t *testing.T) {
	host := testnet.NewHost(t)
	host.Sh(t, "ip", "addr", "add", "192.0.2.1/32", "dev", "lo")
	before := published("before", ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: 80, ContainerPort: 80})
	statetest.Apply(t, statetest.Open(t, nil), before)
	stop := run(t, host)
	await(t, unix.EADDRINUSE, [2]string{"tcp4", "0.0.0.0:80"}, [2]string{"tcp6", "[::]:80"}, [2]string{"tcp4", "127.0.0.1:80"})
	await(t, nil, [2]string{"udp4", "0.0.0.0:80"})

	later := published("later",
		ports.Port{Protocol: unix.IPPROTO_UDP, HostPort: 53, ContainerPort: 53},
		ports.Port{Protocol: unix.IPPROTO_TCP, HostIP: netip.MustParseAddr("192.0.2.1"), HostPort: 8080, ContainerPort: 80},
		ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: 9000, ContainerPort: 9000, More: 31},
		ports.Port{Protocol: unix.IPPROTO_TCP, HostIP: netip.MustParseAddr("198.51.100.1"), HostPort: 81, ContainerPort: 80}) // nobody's
	statetest.Apply(t, statetest.Open(t, nil), later)
	await(t, unix.EADDRINUSE, [2]string{"udp4", "0.0.0.0:53"}, [2]string{"tcp4", "192.0.2.1:8080"}, [2]string{"tcp4", "0.0.0.0:9000"}, [2]string{"tcp6", "[::]:9031"})
	await(t, nil, [2]string{"tcp4", "127.0.0.1:8080"}, [2]string{"tcp4", "0.0.0.0:9032"})
	if got := host.Sh(t, "ss", "-Hltn", "sport", "=", ":9015"); !strings.Contains(got, "0.0.0.0:9015") {
		t.Errorf("ss shows %q", got)
	}

	if err := later.Remove(statetest.Open(t, nil)); err != nil {
		t.Fatal(err)
	}
	await(t, nil, [2]string{"udp4", "0.0.0.0:53"}, [2]string{"tcp4", "192.0.2.1:8080"}, [2]string{"tcp4", "0.0.0.0:9000"}, [2]string{"tcp6", "[::]:9031"})
	await(t, unix.EADDRINUSE, [2]string{"tcp4", "0.0.0.0:80"})
	stop()
	await(t, nil, [2]string{"tcp4", "0.0.0.0:80"}, [2]string{"tcp6", "[::]:80"})
}

// TestMost: of more ports than are held, it is always the same ones.
func TestMost(t *testing.T) {
	all := map[string][]ports.Port{}
	for i := range 8 {
		all[string(rune('a'+i))] = []ports.Port{{Protocol: unix.IPPROTO_TCP, HostIP: netip.IPv4Unspecified(), HostPort: uint16(1000 * (i + 1)), More: 999}}
	}
	first := each(all)
	if len(first) != most {
		t.Fatalf("%d ports", len(first))
	}
	for range 20 {
		if !slices.Equal(each(all), first) {
			t.Fatal("others are held now")
		}
	}
}

// TestHeldPortIsNoProgram: a container may publish a port that is held still, as after another one's end, and what is held takes no
// connection.
func TestHeldPortIsNoProgram(t *testing.T) {
	host := testnet.NewHost(t)
	at := port{unix.IPPROTO_TCP, netip.MustParseAddrPort("0.0.0.0:80")}
	for _, p := range []port{at, {unix.IPPROTO_UDP, at.at}, {unix.IPPROTO_TCP, netip.MustParseAddrPort("[::]:80")}} {
		fd, err := p.open()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
	}
	k := statetest.Open(t, nil)
	for _, protocol := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		if found, err := k.ListeningSockets(protocol); len(found) > 0 || err != nil {
			t.Errorf("sockets of programs: %v, %v", found, err)
		}
	}
	err := host.Do(func() error {
		c, err := net.DialTimeout("tcp", "127.0.0.1:80", 300*time.Millisecond)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	if timeout := net.Error(nil); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a connection: %v", err)
	}
	statetest.Apply(t, k, published("a", ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: 80, ContainerPort: 80}))
}

// TestOthersHoldThePort: a runtime that holds the port itself goes on doing so, and its port is held when it has gone, without a change of rules.
func TestOthersHoldThePort(t *testing.T) {
	host := testnet.NewHost(t)
	runtimes, err := net.Listen("tcp4", "0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	var held uint32
	k := statetest.Open(t, nil)
	found, err := k.ListeningSockets(unix.IPPROTO_TCP)
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	held = found[0].Inode
	statetest.Apply(t, k, published("a", ports.Port{Protocol: unix.IPPROTO_TCP, HostPort: 80, ContainerPort: 80, Holders: []uint32{held}}))
	stop := run(t, host)
	await(t, unix.EADDRINUSE, [2]string{"tcp6", "[::]:80"}) // which nobody else holds
	_ = runtimes.Close()
	await(t, unix.EADDRINUSE, [2]string{"tcp4", "0.0.0.0:80"})
	stop()
}
