package resolver

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/nameport"
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

// errHandedOver says that another process holds the port: a plugin that is about to hand it over, or a program that has taken it
// since a resolver ended.
var errHandedOver = errors.New("another process has the port for names")

// open opens the port of a namespace. A redirect of an earlier resolver is taken over, so that nothing has to be written, and no
// query is in between; with force also when its port is another's.
func open(n names.Netns, force bool) (s sockets, err error) {
	err = visit(n, func(int) error {
		raw, err := nameport.OpenAgain()
		if errors.Is(err, nameport.ErrNotRedirected) {
			raw, err = nameport.OpenFirst()
		}
		if errors.Is(err, nameport.ErrRedirected) || errors.Is(err, unix.EADDRINUSE) {
			raw, err = takeOver(force)
		}
		if err == nil {
			s, err = adopted(raw)
		}
		return err
	})
	return s, err
}

// takeOver opens sockets where the redirect leads that is there, or else leads it to new ones.
func takeOver(force bool) (s nameport.Sockets, err error) {
	r, err := nameport.OpenRedirect()
	if err != nil {
		return s, err
	}
	defer r.Close()
	there, err := r.Find()
	if err != nil {
		return s, err
	}
	s, err = nameport.Listen(there.To)
	if errors.Is(err, unix.EADDRINUSE) && there.To != 0 {
		if !force {
			return s, errHandedOver
		}
		s, err = nameport.Listen(0)
	}
	if err != nil || s.Port == there.To {
		return s, err
	}
	if err := r.Write(s.Port, there); err != nil {
		s.Close()
		return s, err
	}
	return s, nil
}

// adopted makes sockets of this process's poller of descriptors, which are closed.
func adopted(raw nameport.Sockets) (s sockets, err error) {
	udp, tcp := os.NewFile(uintptr(raw.UDP), "names"), os.NewFile(uintptr(raw.TCP), "names")
	defer udp.Close()
	defer tcp.Close()
	if err := unix.SetsockoptInt(raw.UDP, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1); err != nil {
		return s, fmt.Errorf("port for names: %w", err)
	}
	packets, err := net.FilePacketConn(udp)
	if err != nil {
		return s, fmt.Errorf("port for names: %w", err)
	}
	streams, err := net.FileListener(tcp)
	if err != nil {
		return s, errors.Join(fmt.Errorf("port for names: %w", err), packets.Close())
	}
	var ok [2]bool
	s.udp, ok[0] = packets.(*net.UDPConn)
	s.tcp, ok[1] = streams.(*net.TCPListener)
	if !ok[0] || !ok[1] {
		return s, errors.Join(errors.New("port for names: the sockets are of other kinds"), packets.Close(), streams.Close())
	}
	s.port = s.udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	return s, nil
}

// restore writes the redirect again where it is missing; restored says whether it was.
func (s sockets) restore(n names.Netns) (restored bool, err error) {
	err = visit(n, func(int) error {
		r, err := nameport.OpenRedirect()
		if err != nil {
			return err
		}
		defer r.Close()
		there, err := r.Find()
		if err != nil || there.To == s.port {
			return err
		}
		restored = true
		return r.Write(s.port, there)
	})
	return restored, err
}

// withdraw takes the redirect out of a namespace that may be there still.
func withdraw(n names.Netns) error {
	err := visit(n, func(int) error {
		r, err := nameport.OpenRedirect()
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Remove()
	})
	if errors.Is(err, kernel.ErrNoNamespace) {
		return nil
	}
	return err
}
