package nameport

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Sockets are two descriptors on one port. They are not blocking.
type Sockets struct {
	UDP, TCP int
	Port     uint16
}

// Close closes both.
func (s Sockets) Close() {
	unix.Close(s.UDP)
	unix.Close(s.TCP)
}

// OpenFirst opens sockets where none were before, and leads 127.0.0.11:53 to them. The error is ErrRedirected when that leads
// somewhere already.
func OpenFirst() (Sockets, error) {
	s, err := Listen(0)
	if err != nil {
		return s, err
	}
	if err := writeFirst(s.Port); err != nil {
		s.Close()
		return Sockets{}, err
	}
	return s, nil
}

// Listen opens both sockets on a port; 0: on one that is free.
func Listen(at uint16) (s Sockets, err error) {
	const tries = 8 // a port that is free for one protocol need not be for the other
	for range tries {
		if s, err = listenOn(at); err == nil || at != 0 || !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	if err != nil {
		return Sockets{}, fmt.Errorf("port for names on %s: %w", Addr, err)
	}
	return s, nil
}

func listenOn(at uint16) (s Sockets, err error) {
	if s.UDP, s.Port, err = bind(unix.SOCK_DGRAM, at); err != nil {
		return s, err
	}
	if s.TCP, _, err = bind(unix.SOCK_STREAM, s.Port); err != nil {
		unix.Close(s.UDP)
		return s, err
	}
	if err := unix.Listen(s.TCP, backlog); err != nil {
		s.Close()
		return s, err
	}
	return s, nil
}

// backlog is how many connections wait to be accepted.
const backlog = 128

func bind(kind int, at uint16) (fd int, port uint16, err error) {
	fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, 0, err
	}
	err = errors.Join(
		// lo may be down when a plugin runs, and 127.0.0.11 is no address of the namespace then.
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1),
		reuse(fd, kind),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: Addr.As4(), Port: int(at)}))
	if err != nil {
		unix.Close(fd)
		return -1, 0, err
	}
	name, err := unix.Getsockname(fd)
	if own, ok := name.(*unix.SockaddrInet4); err == nil && ok {
		return fd, uint16(own.Port), nil
	}
	unix.Close(fd)
	return -1, 0, errors.Join(err, unix.EPROTO)
}

// reuse lets a resolver that starts take a port of which connections to the one before wait for their end. For UDP it would let two
// have the port at once.
func reuse(fd, kind int) error {
	if kind != unix.SOCK_STREAM {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}
