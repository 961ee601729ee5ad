package resolver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/names"
)

// sockets are those of one namespace, on one port for both protocols.
type sockets struct {
	udp  *net.UDPConn
	tcp  *net.TCPListener
	port uint16
}

func (s sockets) close() {
	_ = s.udp.Close() // nothing is buffered
	_ = s.tcp.Close() // likewise
}

// visit runs f on a thread within a namespace.
func visit(n names.Netns, f func(fd int) error) error { return id(n).VisitThread(n.Path, f) }

func id(n names.Netns) kernel.NamespaceID {
	return kernel.NamespaceID{Dev: n.Dev, Inode: n.Inode, Cookie: n.Cookie}
}

// open opens sockets in a namespace and leads port 53 there to them. A redirect of an earlier resolver is taken over with its
// port, so that nothing has to be written, and no query is in between.
func open(n names.Netns) (s sockets, err error) {
	err = visit(n, func(int) error {
		r, err := openRedirect()
		if err != nil {
			return err
		}
		defer r.close()
		there, err := r.find()
		if err != nil {
			return err
		}
		if s, err = listen(there.to); err != nil {
			return err
		}
		if s.port == there.to {
			return nil
		}
		if err := r.write(s.port, there); err != nil {
			s.close()
			return err
		}
		return nil
	})
	return s, err
}

// restore writes the redirect again where it is missing; restored says whether it was.
func (s sockets) restore(n names.Netns) (restored bool, err error) {
	err = visit(n, func(int) error {
		r, err := openRedirect()
		if err != nil {
			return err
		}
		defer r.close()
		there, err := r.find()
		if err != nil || there.to == s.port {
			return err
		}
		restored = true
		return r.write(s.port, there)
	})
	return restored, err
}

// withdraw takes the redirect out of a namespace that may be there still.
func withdraw(n names.Netns) error {
	err := visit(n, func(int) error {
		r, err := openRedirect()
		if err != nil {
			return err
		}
		defer r.close()
		return r.remove()
	})
	if errors.Is(err, kernel.ErrNoNamespace) {
		return nil
	}
	return err
}

// listen opens both sockets on a port, or on one that is free when it is 0 or in use.
func listen(at uint16) (sockets, error) {
	const tries = 8
	var err error
	for range tries {
		var s sockets
		if s, err = listenOn(at); err == nil {
			return s, nil
		}
		at = 0
	}
	return sockets{}, fmt.Errorf("no port for names on %s: %w", self, err)
}

func listenOn(at uint16) (s sockets, err error) {
	// lo may be down when a plugin runs, and 127.0.0.11 is no address of the namespace then.
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
		return errors.Join(err, failed)
	}}
	config.SetMultipathTCP(false)
	udp, err := config.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(self, at).String())
	if err != nil {
		return s, err
	}
	s.udp = udp.(*net.UDPConn)
	s.port = s.udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	tcp, err := config.Listen(context.Background(), "tcp4", netip.AddrPortFrom(self, s.port).String())
	if err != nil {
		return s, errors.Join(err, udp.Close())
	}
	s.tcp = tcp.(*net.TCPListener)
	return s, nil
}
