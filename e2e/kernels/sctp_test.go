package kernels

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/testnet"
)

// TestSCTPPublished: a published port of SCTP answers the outside and the host, in both families, and does so no more when the container
// is detached. A range of ports leads to the same ports of the container.
func TestSCTPPublished(t *testing.T) {
	host, outside := newWorld(t)
	ports := []conf{{"hostPort": 8080, "containerPort": 80, "protocol": "sctp"}}
	for port := 9000; port < 9020; port++ {
		ports = append(ports, conf{"hostPort": port, "containerPort": port, "protocol": "sctp"})
	}
	c := attach(t, host, "c", network("bridge", "net", conf{
		"bridge": "br0", "isDefaultGateway": true, "ipMasq": true, "ipam": ranges("10.1.0.0/24", "fd01::/64"),
		"capabilities": conf{"portMappings": true}, "runtimeConfig": conf{"portMappings": ports},
	}))
	serveSCTP(t, c.container, 80, "eighty")
	serveSCTP(t, c.container, 9011, "of the range")
	from := map[string]*testnet.Namespace{"the outside": outside, "the host": host, "the container itself": c.container}
	addresses := []string{host4}
	if testnet.HasIPv6() {
		addresses = append(addresses, "2001:db8::10")
	}
	for name, n := range from {
		for _, address := range addresses {
			for port, want := range map[uint16]string{8080: "eighty", 9011: "of the range"} {
				at := netip.AddrPortFrom(netip.MustParseAddr(address), port)
				if got, err := askSCTP(n, at); got != want {
					t.Errorf("%s asks %s: got %q, %v", name, at, got, err)
				}
			}
		}
	}
	c.succeed(t, "CHECK")
	c.succeed(t, "DEL")
	leavesNothing(t, host, "net")
	if got, err := askSCTP(outside, netip.AddrPortFrom(netip.MustParseAddr(host4), 8080)); err == nil {
		t.Errorf("after DEL %q answers", got)
	}
}

// sctpLimit bounds each call of a socket.
var sctpLimit = unix.Timeval{Sec: 20}

// socketSCTP opens a socket that is used as one of TCP (RFC 6458, 4).
func socketSCTP(family int) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return -1, err
	}
	return fd, errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &sctpLimit),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &sctpLimit))
}

// serveSCTP says a word to whoever comes to a port, until the test ends.
func serveSCTP(t *testing.T, n *testnet.Namespace, port int, word string) {
	t.Helper()
	family, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: port})
	if testnet.HasIPv6() {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: port} // takes IPv4 as well
	}
	var fd int
	err := n.Do(func() (err error) {
		fd, err = socketSCTP(family)
		return errors.Join(err, unix.Bind(fd, at), unix.Listen(fd, 16))
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // the server looks at its end
		close(done)
	})
	go func() {
		defer func() { _ = unix.Close(fd) }() // nothing was written
		for {
			client, _, err := unix.Accept(fd)
			if err == nil {
				_, _ = unix.Write(client, []byte(word)) // who asked finds out
				_ = unix.Close(client)
			}
			select {
			case <-done:
				return
			default:
			}
			if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
}

// askSCTP is what a port says.
func askSCTP(from *testnet.Namespace, at netip.AddrPort) (word string, err error) {
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(at.Port())})
	if at.Addr().Is4() {
		to = &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	}
	err = from.Do(func() error {
		fd, err := socketSCTP(family)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }() // nothing was written
		if err := unix.Connect(fd, to); err != nil {
			return err
		}
		buffer := make([]byte, 64)
		n, err := unix.Read(fd, buffer)
		if err == nil {
			word = string(buffer[:n])
		}
		return err
	})
	return word, err
}
