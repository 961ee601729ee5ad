package testnet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Stream is one TCP connection between two namespaces, whose far end sends back what it gets.
type Stream struct {
	near net.Conn
	stop chan struct{}
	done chan error // of who sends, and of who compares
}

// StartStream connects to an address of a namespace, and begins to send.
func StartStream(from, to *Namespace, addr netip.Addr) (*Stream, error) {
	var listener *net.TCPListener
	if err := to.Do(func() (err error) {
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)))
		return err
	}); err != nil {
		return nil, err
	}
	defer func() { _ = listener.Close() }() // the connection stays
	s := &Stream{stop: make(chan struct{}), done: make(chan error, 2)}
	if err := from.Do(func() (err error) {
		s.near, err = net.DialTimeout("tcp", listener.Addr().String(), 10*time.Second)
		return err
	}); err != nil {
		return nil, err
	}
	far, err := listener.Accept()
	if err != nil {
		return nil, errors.Join(err, s.near.Close())
	}
	go func() {
		_, _ = io.Copy(far, far) // the near end tells of an error
		_ = far.Close()
	}()
	go func() { s.done <- s.send() }()
	go func() { s.done <- s.compare() }()
	return s, nil
}

// send sends numbers until it is stopped.
func (s *Stream) send() error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for n := uint64(0); ; n++ {
		select {
		case <-s.stop:
			return s.near.(*net.TCPConn).CloseWrite()
		case <-ticker.C:
			if _, err := s.near.Write(binary.BigEndian.AppendUint64(nil, n)); err != nil {
				return err
			}
		}
	}
}

// compare reads the numbers until the far end has none left.
func (s *Stream) compare() error {
	var number [8]byte
	for n := uint64(0); ; n++ {
		_, err := io.ReadFull(s.near, number[:])
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case err != nil:
			return fmt.Errorf("after %d numbers: %w", n, err)
		case binary.BigEndian.Uint64(number[:]) != n:
			return fmt.Errorf("%d came instead of %d", binary.BigEndian.Uint64(number[:]), n)
		}
	}
}

// Stop ends the stream, and says whether it was reset or has lost anything.
func (s *Stream) Stop(patience time.Duration) error {
	close(s.stop)
	err := s.near.SetReadDeadline(time.Now().Add(patience))
	return errors.Join(err, <-s.done, <-s.done, s.near.Close())
}
